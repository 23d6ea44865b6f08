"""The router: HAProxy, and the agent that keeps it at the route that the operator has written."""
