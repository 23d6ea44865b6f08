"""Tools of the repository itself: the local cluster, the images, the programs they need.

Standard library only: it runs with the system's python3 before any virtual environment exists.
"""
