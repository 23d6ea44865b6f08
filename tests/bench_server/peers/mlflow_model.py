"""Writes an MLflow model that takes pictures, for `mlflow models serve`: `mlflow_model.py FOLDER`.

MLflow's own server takes rows; a picture is a column of base64, as in its documentation's image
example.
"""

from __future__ import annotations

import base64
import sys
from pathlib import Path
from typing import Any

import mlflow
import network
import pandas as pd
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, Schema


class Classifier(mlflow.pyfunc.PythonModel):
    def load_context(self, context: Any) -> None:
        self.network = network.load(context.artifacts["weights"])

    def predict(self, context: Any, model_input: pd.DataFrame, params: Any = None) -> list[Any]:
        pictures = [base64.b64decode(encoded) for encoded in model_input["image"]]
        return [network.answer(network.classify(self.network, data)) for data in pictures]


if __name__ == "__main__":
    folder, weights = sys.argv[1:]
    mlflow.pyfunc.save_model(
        folder,
        python_model=Classifier(),
        artifacts={"weights": weights},
        code_paths=[network.__file__],
        pip_requirements=[],
        signature=ModelSignature(inputs=Schema([ColSpec("string", "image")])),
    )
    assert Path(folder, "MLmodel").exists()
