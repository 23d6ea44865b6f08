"""From the settings to a model that answers: verify, load, choose an engine, warm up.

`serve` calls this in a thread while the HTTP server already answers `/health`. Importing torch
takes seconds on a small machine, so that too is left to this thread, once the bytes are verified.
"""

from __future__ import annotations

import math
from io import BytesIO

from PIL import Image

from model_server.artifact import verify
from model_server.errors import WeightsRefused
from model_server.model import Identity, Model
from model_server.prediction import PixelLimits, Predictor
from model_server.settings import Settings
from model_server.workers import Workers

_COLOURS = ("grey", "black", "white")


def load_model(settings: Settings, workers: Workers) -> Model:
    """Return the model at `settings.model_path`, after one prediction in each inference thread.

    Raises:
        ArtifactRefused: its bytes are not to be served; the sentence says why.
        EngineUnavailable: the engine or the decoding that the settings name is not to be used.

    """
    artifact = verify(settings.model_path, settings.model_sha256)
    from model_server.choosing import choose  # noqa: PLC0415 - see above
    from model_server.weights import load_network  # noqa: PLC0415

    chosen = choose(
        load_network(artifact),
        artifact.manifest.input,
        engine=settings.engine,
        decoding=settings.decoding,
    )
    limits = PixelLimits(settings.max_image_pixels, settings.max_request_pixels)
    predictor = Predictor(artifact.manifest, chosen.engine, limits, chosen.decoder)
    _warm_up(predictor, workers, settings.max_image_pixels)
    name = settings.model_name or artifact.manifest.name
    return Model(
        identity=Identity(name, settings.model_version, settings.revision),
        digest=artifact.digest,
        engine=chosen.engine.name,
        predict=predictor,
    )


def _warm_up(predictor: Predictor, workers: Workers, max_pixels: int) -> None:
    """Predict in each thread, so that no client waits for lazy set-up, and look at the answers.

    Black and white are the ends of what the network can be fed: weights that overflow do so there.
    """
    side = min(256, math.isqrt(max_pixels))
    pictures = {colour: _plain(colour, side) for colour in _COLOURS}

    def predict() -> None:
        for colour, picture in pictures.items():
            if not math.isfinite(predictor([picture]).items[0].confidence):
                raise WeightsRefused(
                    f"The model answers NaN for a {colour} picture: its weights are finite but"
                    " useless; train again and register that model."
                )

    workers.run_in_each(predict)


def _plain(colour: str, side: int) -> bytes:
    jpeg = BytesIO()
    Image.new("RGB", (side, side), colour).save(jpeg, "JPEG")
    return jpeg.getvalue()
