"""The only place that imports torchvision, so that it imports beside every build of torch.

torchvision's compiled operators are linked against one build of torch. Beside another one (its
PyPI wheel beside a CPU-only torch) they do not load, and `import torchvision` stops at
`operator torchvision::nms does not exist`, because it registers shape functions for two operators
that nothing has declared. Declaring their schemas is enough: transforms work on plain tensors
and use no compiled operator. Where the compiled operators load, nothing is declared here.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Final

import torch

_SCHEMAS: Final = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)


def _compiled_operators_load() -> bool:
    """Whether torchvision's extension fits this torch; loading it twice does no harm."""
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None:
        message = "torchvision is not installed; install cv-factory with its extra [training]"
        raise ModuleNotFoundError(message, name="torchvision")
    extension = Path(spec.origin).parent / "_C.so"
    if not extension.exists():
        return False
    try:
        torch.ops.load_library(str(extension))  # type: ignore[no-untyped-call]
    except OSError:
        return False
    return True


if not _compiled_operators_load():
    # The library object must live as long as the process: its end takes the schemas away.
    _declared = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    for _schema in _SCHEMAS:
        _declared.define(_schema)  # type: ignore[no-untyped-call]

from torchvision.transforms import v2  # noqa: E402 - only after the schemas exist

__all__ = ["v2"]
