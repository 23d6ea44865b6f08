"""Copies of live requests for a new revision: how stable sends them, how the shadow compares."""
