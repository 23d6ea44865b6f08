"""A real Kubernetes for the demo and the tests: `python3 -m dev.cluster up|down|status|forward`."""
