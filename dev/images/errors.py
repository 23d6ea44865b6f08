"""What can go wrong with the images; each error's text is the sentence that the user reads.

ImageError
+-- NoEngine        neither docker, podman nor buildah can be used
+-- BuildFailed     a Dockerfile or the base could not be built
+-- TooLarge        an image weighs more than it may
"""

from __future__ import annotations


class ImageError(Exception):
    """Base of all: `python3 -m dev.images` prints it as one line and ends with status 1."""


class NoEngine(ImageError):
    """Nothing that builds images works on the machine."""


class BuildFailed(ImageError):
    """An image could not be built."""


class TooLarge(ImageError):
    """An image is larger, compressed, than its target."""
