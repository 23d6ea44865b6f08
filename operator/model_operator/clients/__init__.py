"""Everything that talks to the outside: the cluster, the model registry, Events."""
