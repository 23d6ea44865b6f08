"""The images of this repository: `python3 -m dev.images build|load|size [operator server ...]`."""
