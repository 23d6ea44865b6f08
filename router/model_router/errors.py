"""What can go wrong in the agent.

RouterError
  SettingsError   the environment says something impossible; the agent does not start
  RouteError      the route document cannot be applied; the last good one stays in force
  ProxyError      HAProxy did not do, or did not answer, what it was told
  ProxyEnded      HAProxy is gone; the agent ends too, and the kubelet starts both anew
"""

from __future__ import annotations


class RouterError(Exception):
    """Any of them; its text is a sentence for people."""


class SettingsError(RouterError):
    """A setting cannot be used."""


class RouteError(RouterError):
    """A route document cannot be used."""


class ProxyError(RouterError):
    """HAProxy did not take a command over."""


class ProxyEnded(RouterError):
    """HAProxy has ended by itself."""
