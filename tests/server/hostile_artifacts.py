"""Artifacts that must never be served, for test_hostile_artifacts and for hostile_models.

Each is whole in itself (its digests are right): what is wrong is in what the bytes say.
"""

from __future__ import annotations

import json
import pickle
import struct
import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save

from tests.server.artifacts import State, make_artifact, make_state

Make = Callable[[Path], Path]


class Marks:
    """Unpickling this makes a folder: the harmless stand-in for code in a pickle."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.mkdir, (self._path,)


def state_with(**changes: Any) -> State:
    """The good weights with some replaced; `__` stands for a dot."""
    state = make_state()
    for name, value in changes.items():
        state[name.replace("__", ".")] = value
    return state


def holding(state: State, name: str = "model.safetensors", **manifest: Any) -> Make:
    return lambda folder: make_artifact(folder, state=state, weights_name=name, **manifest)


def bytes_as(name: str, content: Callable[[], bytes]) -> Make:
    return lambda folder: make_artifact(
        folder, weights_name=name, write_weights=lambda path: path.write_bytes(content())
    )


def describing(**manifest: Any) -> Make:
    return lambda folder: make_artifact(folder, **manifest)


def converted(dtype: torch.dtype) -> State:
    return {name: t.to(dtype) if t.is_floating_point() else t for name, t in make_state().items()}


def edited_header(edit: Callable[[dict[str, Any]], None]) -> bytes:
    """A safetensors file whose header says something else than its bytes."""
    content = save(make_state())
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    edit(header)
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + content[8 + length :]


def overlap(header: dict[str, Any]) -> None:
    a, b = header["features.0.norm.weight"], header["features.0.norm.bias"]
    a["data_offsets"] = b["data_offsets"]


def beyond(header: dict[str, Any]) -> None:
    header["features.0.norm.weight"]["data_offsets"] = [10**9, 10**9 + 32]


def wrong_length(header: dict[str, Any]) -> None:
    header["classifier.weight"]["shape"] = [200, 1600]


def overflowing_shape(header: dict[str, Any]) -> None:
    header["classifier.weight"]["shape"] = [2**63, 2**63]


def huge_header() -> bytes:
    return struct.pack("<Q", 2**62) + b"{}"


def bare_pickle(folder: Path) -> Path:
    return bytes_as("best_model.pt", lambda: pickle.dumps(Marks(folder.parent / "mark")))(folder)


def saved_pickle(folder: Path) -> Path:
    def write(path: Path) -> None:
        torch.save({**make_state(), "more": Marks(folder.parent / "mark")}, path)

    return make_artifact(folder, weights_name="best_model.pt", write_weights=write)


def legacy_pickle(folder: Path) -> Path:
    def write(path: Path) -> None:
        mark = Marks(folder.parent / "mark")
        torch.save(mark, path, _use_new_zipfile_serialization=False)

    return make_artifact(folder, weights_name="best_model.pt", write_weights=write)


def torchscript() -> bytes:
    """The layout of a scripted module: code and constants beside the data."""
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/constants.pkl", pickle.dumps(()))
        archive.writestr("archive/code/__torch__.py", "class Net: ...")
        archive.writestr("archive/data.pkl", pickle.dumps({}))
        archive.writestr("archive/version", "3\n")
    return buffer.getvalue()


def unpacking_bomb() -> bytes:
    """Good weights as torch saves them, but deflated, beside a hundred times as many zeros."""
    saved, made = BytesIO(), BytesIO()
    torch.save(make_state(), saved)
    with zipfile.ZipFile(saved) as good, zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as bad:
        for info in good.infolist():
            bad.writestr(info.filename, good.read(info))
        bad.writestr("archive/data/99", bytes(5_000_000))
    return made.getvalue()


WIDE = (3, 128, 128, 128)


def expanded() -> State:
    """Tensors of all the right shapes, each of which is one number."""
    return {
        name: value.flatten()[0].clone().expand(value.shape)
        for name, value in make_state(WIDE).items()
    }


def aliased() -> State:
    """Tensors of all the right shapes, the float32 among them made of the same numbers."""
    state = make_state(WIDE)
    numbers = max(state.values(), key=torch.numel).flatten()
    return {
        name: numbers[: value.numel()].view(value.shape) if value.is_floating_point() else value
        for name, value in state.items()
    }


def sharing(state: Callable[[], State]) -> Make:
    return lambda folder: make_artifact(
        folder,
        state=state(),
        weights_name="best_model.pt",
        architecture={"name": "SimpleCNN", "channels": list(WIDE)},
    )


NAN, INF = float("nan"), float("inf")
VAR = "features.0.norm.running_var"
HOSTILE: list[tuple[str, Make, str]] = [
    ("three classes, two rows", describing(classes=["a", "b", "c"]), "classifier.*is float32 2"),
    ("two classes, three rows", holding(make_state(classes=3)), "classifier.*is float32 3"),
    ("a class twice", describing(classes=["cat", "cat"]), "a class is listed twice"),
    ("an empty class", describing(classes=["cat", ""]), "refused at classes.1"),
    ("a blank class", describing(classes=["cat", " \t"]), "refused at classes.1"),
    ("no classes", describing(classes=[]), "refused at classes"),
    ("one class", describing(classes=["cat"]), "refused at classes"),
    ("20,001 classes", describing(classes=[str(n) for n in range(20_001)]), "refused at classes"),
    ("a class that is a number", describing(classes=["cat", 1]), "refused at classes.1"),
    ("a class that no answer can carry", describing(classes=["cat", "\ud800"]), "is refused at"),
    ("other channels", describing(architecture={"name": "SimpleCNN", "channels": [3, 8, 32]}),
     "do not fit the architecture"),
    ("more blocks", describing(architecture={"name": "SimpleCNN", "channels": [3, 8, 16, 16]}),
     "missing"),
    ("an architecture larger than any memory",
     describing(architecture={"name": "SimpleCNN", "channels": [3, 65536, 65536, 65536]}),
     "is missing"),
    ("an input that fills the memory",
     describing(architecture={"name": "SimpleCNN", "channels": [3, 65536]},
                input={"height": 4096, "width": 4096, "mean": [0] * 3, "std": [1] * 3}),
     "one picture would take more than 1 GiB in one layer"),
    ("NaN in a weight", holding(state_with(classifier__bias=torch.tensor([NAN, 0]))), "NaN or inf"),
    ("infinite weight", holding(state_with(classifier__bias=torch.tensor([INF, 0]))), "NaN or inf"),
    ("NaN in a buffer", holding(state_with(**{VAR: torch.full((8,), NAN)})), "NaN or inf"),
    ("negative variances", holding(state_with(**{VAR: torch.full((8,), -1.0)})), "answers NaN"),
    ("one negative variance",
     holding(state_with(**{VAR: torch.tensor([-1.0, *[1.0] * 7])})), "answers NaN"),
    ("weights that overflow",
     holding({n: t * 1e38 if n.endswith("conv.weight") else t for n, t in make_state().items()}),
     "answers NaN"),
    ("weights that overflow for white alone",
     holding(state_with(features__0__conv__weight=torch.full((8, 3, 3, 3), 3e38),
                        features__0__norm__running_mean=torch.zeros(8)),
             input={"height": 32, "width": 32, "mean": [128 / 255] * 3, "std": [1] * 3}),
     "answers NaN for a white picture"),
    ("a deviation too small for float32",
     describing(input={"height": 32, "width": 32, "mean": [0.5] * 3, "std": [1e-300] * 3}),
     "refused at input.std.0"),
    ("a mean too large for float32",
     describing(input={"height": 32, "width": 32, "mean": [1e300] * 3, "std": [1] * 3}),
     "refused at input.mean.0"),
    ("float16", holding(converted(torch.float16)), "is float16 .*, but float32"),
    ("bfloat16", holding(converted(torch.bfloat16)), "is bfloat16 .*, but float32"),
    ("float64", holding(converted(torch.float64)), "is float64 .*, but float32"),
    ("float64 in a state dict", holding(converted(torch.float64), "best_model.pt"), "is float64"),
    ("a sparse tensor",
     holding(state_with(classifier__weight=torch.zeros(2, 16).to_sparse()), "best_model.pt"),
     "is a tensor of another layout"),
    ("a tensor without data",
     holding(state_with(classifier__bias=torch.empty(2, device="meta")), "best_model.pt"),
     "is a tensor without data"),
    ("a number for a tensor", holding(state_with(classifier__bias=1.5), "best_model.pt"),
     "is not a state dict of named tensors"),
    ("an optimiser beside the weights",
     holding({"model": make_state(), "optimizer": {}}, "best_model.pt"),
     "is not a state dict of named tensors"),
    ("code in a bare pickle", bare_pickle, "pickled code is never run"),
    ("code in a saved pickle", saved_pickle, "pickled code is never run"),
    ("code in a legacy file", legacy_pickle, "pickled code is never run"),
    ("a bomb for who unpacks it", bytes_as("best_model.pt", unpacking_bomb), "unpacks to"),
    ("tensors of one number each", sharing(expanded), "its tensors take"),
    ("tensors of one another's numbers", sharing(aliased), "its tensors take"),
    ("a scripted module", bytes_as("best_model.pt", torchscript), "best_model.pt"),
    ("a pickle named safetensors",
     bytes_as("model.safetensors", lambda: pickle.dumps(make_state())), "cannot be read"),
    ("safetensors named pt", bytes_as("best_model.pt", lambda: save(make_state())), "best_mod"),
    ("a header longer than the file", bytes_as("model.safetensors", huge_header), "cannot be read"),
    ("tensors that overlap", bytes_as("m.safetensors", lambda: edited_header(overlap)), "cannot"),
    ("a tensor beyond the end", bytes_as("m.safetensors", lambda: edited_header(beyond)), "cannot"),
    ("a shape larger than its bytes",
     bytes_as("m.safetensors", lambda: edited_header(wrong_length)), "cannot be read"),
    ("a shape that overflows",
     bytes_as("m.safetensors", lambda: edited_header(overflowing_shape)), "cannot be read"),
    ("cut off", bytes_as("m.safetensors", lambda: save(make_state())[:-10]), "cannot be read"),
    ("bytes behind the end", bytes_as("m.safetensors", lambda: save(make_state()) + b"more"),
     "cannot be read"),
]  # fmt: skip
