"""How requests are shared between revisions: weights to objects, objects to weights (pure)."""
