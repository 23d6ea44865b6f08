"""What drives the reconciling: the work queue."""
