"""From the settings to a model that answers: verify, load, warm up.

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
from model_server.prediction import Predictor
from model_server.settings import Settings
from model_server.workers import Workers


def load_model(settings: Settings, workers: Workers) -> Model:
    """Return the model at `settings.model_path`, after one prediction in each inference thread.

    Raises:
        ArtifactRefused: its bytes are not to be served; the sentence says why.

    """
    artifact = verify(settings.model_path, settings.model_sha256)
    from model_server.torch_engine import TorchEngine  # noqa: PLC0415 - see above
    from model_server.weights import load_network  # noqa: PLC0415

    engine = TorchEngine(load_network(artifact))
    predictor = Predictor(artifact.manifest, engine, settings.max_image_pixels)
    _warm_up(predictor, workers)
    name = settings.model_name or artifact.manifest.name
    return Model(
        identity=Identity(name, settings.model_version, settings.revision),
        digest=artifact.digest,
        engine=engine.name,
        predict=predictor,
    )


def _warm_up(predictor: Predictor, workers: Workers) -> None:
    """Predict on a grey JPEG in each thread: the first client shall not wait for lazy set-up."""
    jpeg = BytesIO()
    Image.new("RGB", (256, 256), "grey").save(jpeg, "JPEG")
    for predictions in workers.run_in_each(lambda: predictor([jpeg.getvalue()])):
        if not math.isfinite(predictions.items[0].confidence):
            raise WeightsRefused(
                "The model answers NaN for a grey picture: its weights are finite but useless;"
                " train again and register that model."
            )
