"""Who is compared: how each server is installed, started and asked.

Each stands here as its own documentation advises; `campaign` starts them in turn. Versions are
pinned, so that a figure can be had again; the newest that could be installed were taken.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from model_server.cpu_limit import available_cpus
from tests.bench_server.environments import Environment
from tests.bench_server.material import Material

PEERS = Path(__file__).resolve().parent / "peers"
CPUS = max(1, math.floor(available_cpus()))
COMPUTING = ("numpy", "pillow")
BFLOAT16 = "-bf16"
"""What ends the setting ENGINE where it means bfloat16."""
FASTAPI = ("fastapi==0.165.0", "uvicorn[standard]==0.54.0")
LITSERVE = ("litserve==0.2.19",)
BENTOML = ("bentoml==1.4.39",)
KSERVE = ("kserve==0.21.0",)
MLFLOW = ("mlflow==3.17.2",)


class Comparison(Enum):
    """What a contender is there for."""

    OURS = "this server"
    WELL_WRITTEN = "well-written FastAPI"
    ADVISED = "as its documentation advises"
    SAME_ENGINE = "with this server's engine and decoding"


@dataclass(frozen=True)
class Start:
    """What a command line is made of."""

    python: Path
    port: int
    material: Material
    scratch: Path
    """A folder that is gone afterwards."""
    engine: str = "auto"
    """The setting ENGINE, wherever this project's engine runs."""


@dataclass(frozen=True)
class Contender:
    """One server."""

    name: str
    title: str
    comparison: Comparison
    environment: Environment
    protocol: str
    command: Callable[[Start], Sequence[object]]
    prepare: Callable[[Start], Sequence[object]] | None = None
    """Is run to its end before the server is started."""
    in_float32: bool = False
    """Computes in float32 where the chosen engine would compute in bfloat16."""

    def variables(self, start: Start) -> dict[str, str]:
        """The process's environment: this machine's, and where everything is."""
        return {
            "HOME": str(start.scratch),
            "LANG": "C.UTF-8",
            "PATH": f"{start.python.parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(PEERS),
            "BENCH_CPUS": str(CPUS),
            "BENCH_WEIGHTS": str(start.material.weights),
            "BENCH_ARTIFACT": str(start.material.artifact),
            "MODEL_PATH": str(start.material.artifact),
            "DRAIN_SECONDS": "0",  # no rollout waits for its end
            "BENTOML_HOME": str(start.scratch / "bentoml"),
            "BENTOML_DO_NOT_TRACK": "True",
            "DO_NOT_TRACK": "true",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "MLFLOW_TRACKING_URI": f"sqlite:///{start.scratch}/mlflow.db",
            "ENGINE": start.engine.removesuffix(BFLOAT16) if self.in_float32 else start.engine,
        }


def _ours(start: Start) -> Sequence[object]:
    return (start.python, "-m", "model_server.main", "--host", "127.0.0.1", "--port", start.port)


def _uvicorn(app: str) -> Callable[[Start], Sequence[object]]:
    fast = ("--loop", "uvloop", "--http", "httptools", "--no-access-log")
    return lambda start: (
        *(start.python, "-m", "uvicorn", app, "--host", "127.0.0.1", "--port", start.port),
        *("--workers", CPUS, *fast),
    )


def _script(name: str, *arguments: object) -> Callable[[Start], Sequence[object]]:
    return lambda start: (start.python, PEERS / name, *arguments, start.port)


def _bentoml(service: str) -> Callable[[Start], Sequence[object]]:
    return lambda start: (
        *(start.python, "-m", "bentoml", "serve", service),
        *("--host", "127.0.0.1", "--port", start.port),
    )


def _mlflow_save(start: Start) -> Sequence[object]:
    saved = start.scratch / "mlflow-model"
    return (start.python, PEERS / "mlflow_model.py", saved, start.material.weights)


def _mlflow_serve(start: Start) -> Sequence[object]:
    return (
        *(start.python, "-m", "mlflow", "models", "serve", "--env-manager", "local"),
        *("--model-uri", start.scratch / "mlflow-model", "--workers", CPUS),
        *("--host", "127.0.0.1", "--port", start.port),
    )


def engine_setting(name: str) -> str:
    """The setting ENGINE for an engine by the name that it gives itself.

    >>> engine_setting("openvino 2025.2.0 bfloat16"), engine_setting("torch 2.13.0+cpu")
    ('openvino-bf16', 'torch')
    """
    lower = name.lower()
    reduced = "bf16" in lower or "bfloat16" in lower
    return lower.split()[0].removesuffix(BFLOAT16) + (BFLOAT16 if reduced else "")


OUR_ENVIRONMENT = Environment("model-server", holds_the_server=True)


def _with_engine(name: str, requirements: tuple[str, ...]) -> Environment:
    return Environment(f"{name}-engine", requirements, holds_the_server=True)


CONTENDERS = (
    Contender("ours", "CV Factory", Comparison.OURS, OUR_ENVIRONMENT, "raw", _ours),
    Contender(
        "ours-float32",
        "CV Factory in float32",
        Comparison.OURS,
        OUR_ENVIRONMENT,
        "raw",
        _ours,
        in_float32=True,
    ),
    Contender(
        "fastapi",
        "FastAPI, well written",
        Comparison.WELL_WRITTEN,
        Environment("fastapi", FASTAPI + COMPUTING),
        "raw",
        _uvicorn("fastapi_app:app"),
    ),
    Contender(
        "litserve",
        "LitServe",
        Comparison.ADVISED,
        Environment("litserve", LITSERVE + COMPUTING),
        "litserve",
        _script("litserve_app.py"),
    ),
    Contender(
        "bentoml",
        "BentoML",
        Comparison.ADVISED,
        Environment("bentoml", BENTOML + COMPUTING),
        "bentoml",
        _bentoml("bentoml_app:Classifier"),
    ),
    Contender(
        "kserve",
        "KServe's Python server",
        Comparison.ADVISED,
        Environment("kserve", KSERVE + COMPUTING),
        "kserve",
        _script("kserve_app.py", "--enable_grpc", "false", "--http_port"),
    ),
    Contender(
        "mlflow",
        "mlflow models serve",
        Comparison.ADVISED,
        Environment("mlflow", MLFLOW + COMPUTING),
        "mlflow",
        _mlflow_serve,
        prepare=_mlflow_save,
    ),
    Contender(
        "fastapi-engine",
        "FastAPI with the same engine",
        Comparison.SAME_ENGINE,
        _with_engine("fastapi", FASTAPI),
        "raw",
        _uvicorn("fastapi_engine:app"),
    ),
    Contender(
        "litserve-engine",
        "LitServe with the same engine",
        Comparison.SAME_ENGINE,
        _with_engine("litserve", LITSERVE),
        "litserve",
        _script("litserve_engine.py"),
    ),
    Contender(
        "bentoml-engine",
        "BentoML with the same engine",
        Comparison.SAME_ENGINE,
        _with_engine("bentoml", BENTOML),
        "bentoml",
        _bentoml("bentoml_engine:Classifier"),
    ),
)
