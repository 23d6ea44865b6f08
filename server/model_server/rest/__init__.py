"""HTTP: what knows the web framework. Below it, nothing does."""
