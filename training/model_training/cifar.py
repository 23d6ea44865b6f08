"""Public photographs of cats and dogs: those two classes of CIFAR-10, as a folder of PNG files.

A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images" (2009). The archive is
fetched from its author's page, or from wherever `--url` says (a file:// URL as well), and is proved
by its published MD5 before anything in it is read. Called by `prepare --cifar10`.
"""

from __future__ import annotations

import hashlib
import http.client
import io
import pickle
import tarfile
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image

from model_training.errors import DataError

MD5: Final = "c58f30108f718f92721af3b95e74349a"
"""As published on the same page; it finds damage, and the address is https."""
BATCHES: Final = tuple(f"cifar-10-batches-py/data_batch_{number}" for number in range(1, 6))
CLASSES: Final = {3: "cat", 5: "dog"}
SIDE: Final = 32  # pixels
SECONDS: Final = 60  # without a byte
_ALLOWED: Final = {
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("_codecs", "encode"),
}


class _Arrays(pickle.Unpickler):
    """Reads arrays and plain values; whatever else a pickle names is refused."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it names {module}.{name}")
        return super().find_class(module, name)


def write_photographs(folder: Path, *, url: str, on_image: Callable[[], None]) -> None:
    """Writes `cat/` and `dog/` into a folder that is new or empty; raises DataError."""
    if folder.exists() and any(folder.iterdir()):
        raise DataError(f"{folder} is not empty: name a new folder by --out")
    archive = _fetched(url)
    folder.mkdir(parents=True, exist_ok=True)
    # Half a set would train all the same.
    with tempfile.TemporaryDirectory(dir=folder, prefix=".unfinished-") as temporary:
        whole = Path(temporary)
        for name in CLASSES.values():
            (whole / name).mkdir()
        for number, (label, pixels) in enumerate(_photographs(archive, url)):
            path = whole / CLASSES[label] / f"{number:05d}.png"
            Image.fromarray(pixels).save(path)
            on_image()
        for name in CLASSES.values():
            (whole / name).rename(folder / name)


def _fetched(url: str) -> bytes:
    if not url.startswith(("https://", "http://", "file://")):
        raise DataError(f"{url} is no address: begin it with https:// or file://")
    try:
        with urllib.request.urlopen(url, timeout=SECONDS) as answer:  # noqa: S310 - judged above
            content: bytes = answer.read()
    except (urllib.error.URLError, OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        raise DataError(
            f"cannot fetch {url} ({reason}): this needs the internet; --url names another address"
            " of the same file, and --synthetic N draws pictures without one"
        ) from error
    found = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if found != MD5:
        raise DataError(f"{url} is not CIFAR-10: its MD5 is {found}, not {MD5}")
    return content


def _photographs(archive: bytes, url: str) -> Iterator[tuple[int, Any]]:
    """Label and pixels (32 x 32 x 3 uint8) of every cat and dog of the training batches."""
    try:
        with tarfile.open(fileobj=io.BytesIO(archive)) as packed:
            for name in BATCHES:
                member = packed.extractfile(name)
                if member is None:
                    raise DataError(f"{url} lacks {name}")
                batch = _Arrays(member, encoding="bytes").load()
                rows = np.asarray(batch[b"data"], np.uint8).reshape(-1, 3, SIDE, SIDE)
                for label, row in zip(batch[b"labels"], rows, strict=True):
                    if label in CLASSES:
                        yield label, np.ascontiguousarray(row.transpose(1, 2, 0))
    except (tarfile.TarError, KeyError, pickle.UnpicklingError, ValueError) as error:
        raise DataError(f"{url} is not CIFAR-10 as Python knows it: {error}") from error
