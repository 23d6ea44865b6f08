"""Builds the faulty server's image from the server's own, and brings it into the cluster."""

from __future__ import annotations

import tempfile
from pathlib import Path

from dev.cluster.choice import choose
from dev.images import engines
from dev.stage import server_image

FOLDER = Path(__file__).parent / "faulty"


def faulty_image() -> str:
    """The image's name; the cluster has it when this returns."""
    reference = server_image().replace("model-server:", "faulty-model-server:")
    engine, cluster = engines.choose(), choose()
    arguments = ["--build-arg", f"SERVER_IMAGE={server_image()}"]
    engine.build(FOLDER / "Dockerfile", FOLDER, reference, arguments)
    image_id = engine.image_id(reference)
    if not cluster.has_image(reference, image_id):
        with tempfile.TemporaryDirectory() as folder:
            archive = Path(folder) / "image.tar"
            engine.save(reference, archive)
            cluster.load_image(reference, image_id, archive)
    return reference
