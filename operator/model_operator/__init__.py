"""The CV Factory operator: reconciles ModelDeployment resources.

`ARCHITECTURE.md` draws the rooms of this package and says which may import which.
"""
