"""The router: HAProxy, and the agent that keeps it at the route that the operator has written."""

__version__ = "0.1.0"
"""The project's: the router's image has no package that could be asked for it."""
