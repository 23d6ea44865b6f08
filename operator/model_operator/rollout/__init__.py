"""How a new revision takes over: pure decisions over numbers, no objects, no I/O."""
