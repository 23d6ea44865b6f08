"""Pickles that run code, by every way that we know; what each does is to make an empty folder.

`CODE` has the pickles themselves, `CONTAINERS` the files that one can hide in.
"""

from __future__ import annotations

import functools
import io
import operator
import os
import pickle
import struct
import subprocess
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from tests.server.artifacts import make_state

Code = Callable[[Path], bytes]
"""Makes a pickle that makes the folder of this path."""


class Calls:
    """Unpickling this calls `function` with `arguments`."""

    def __init__(self, function: object, *arguments: object) -> None:
        self._call = (function, arguments)

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return self._call


def by_name(module: str, name: str, *arguments: str, protocol: int = 4) -> bytes:
    """The opcodes themselves: push the global, push the arguments, call."""
    pushed = b"".join(b"X" + struct.pack("<I", len(x)) + x.encode() for x in arguments)
    if protocol < 4:
        return b"\x80\x02c" + f"{module}\n{name}\n".encode() + b"(" + pushed + b"tR."
    names = b"".join(b"\x8c" + bytes([len(x)]) + x.encode() for x in (module, name))
    return b"\x80\x04" + names + b"\x93(" + pushed + b"tR."


def reduced(call: Callable[[Path], Calls], protocol: int) -> Code:
    return lambda path: pickle.dumps(call(path), protocol)


def statement(path: Path) -> str:
    return f"import os; os.mkdir({str(path)!r})"


def opcodes(text: str) -> Code:
    """A pickle of protocol 0, in which PATH stands for the path."""
    return lambda path: text.replace("PATH", f"S{str(path)!r}\n").encode()


def loads_another(path: Path) -> bytes:
    """A pickle whose one string is the pickle that does it."""
    inner = pickle.dumps(Calls(Path.mkdir, path))
    return pickle.dumps(Calls(pickle.loads, inner))


def in_a_state(path: Path) -> bytes:
    """Among good weights, behind the last of them."""
    return pickle.dumps({"classifier.weight": [1.0, 2.0], "epoch": Calls(Path.mkdir, path)})


CODE: dict[str, Code] = {
    "pathlib in protocol 5": reduced(lambda path: Calls(Path.mkdir, path), 5),
    "os.system": lambda path: by_name("posix", "system", f"mkdir {path}"),
    "os.system in protocol 2": lambda path: by_name("os", "system", f"mkdir {path}", protocol=2),
    "subprocess": reduced(lambda path: Calls(subprocess.call, ["mkdir", path]), 4),
    "exec": lambda path: by_name("builtins", "exec", statement(path)),
    "eval": lambda path: by_name("builtins", "eval", f"__import__('os').mkdir({str(path)!r})"),
    "Python 2's names": lambda path: by_name("__builtin__", "exec", statement(path), protocol=2),
    "timeit": lambda path: by_name("timeit", "timeit", "pass", statement(path)),
    "a method caller": reduced(lambda path: Calls(operator.methodcaller("mkdir"), path), 4),
    "a partial": reduced(lambda path: Calls(functools.partial(os.mkdir, str(path))), 4),
    "GLOBAL and REDUCE": opcodes("cos\nmkdir\n(PATHtR."),
    "INST": opcodes("(PATHios\nmkdir\n."),
    "OBJ": opcodes("(cos\nmkdir\nPATHo."),
    "map in a list": opcodes("c__builtin__\nlist\n(c__builtin__\nmap\n(cos\nmkdir\n(PATHltRtR."),
    "getattr": opcodes("c__builtin__\ngetattr\n(c__builtin__\n__import__\n(S'os'\ntRS'mkdir'\ntR"
                       "(PATHtR."),
    "a pickle in a pickle": loads_another,
    "among good weights": in_a_state,
}  # fmt: skip


def _zipped(code: bytes) -> bytes:
    """As torch.save writes it, with another pickle in the place of its own."""
    saved, made = io.BytesIO(), io.BytesIO()
    torch.save(make_state(), saved)
    with zipfile.ZipFile(saved) as good, zipfile.ZipFile(made, "w") as bad:
        for info in good.infolist():
            is_pickle = info.filename.endswith("/data.pkl")
            bad.writestr(info.filename, code if is_pickle else good.read(info))
    return made.getvalue()


def _legacy(code: bytes) -> bytes:
    """As torch.save wrote it before 1.6: magic number, protocol, system, then the object."""
    system = {"protocol_version": 1001, "little_endian": True, "type_sizes": {}}
    head: list[Any] = [0x1950A86A20F9469CFC6C, 1001, system]
    return b"".join(pickle.dumps(part, 2) for part in head) + code + pickle.dumps([], 2)


def _tarred(code: bytes) -> bytes:
    """As torch.save wrote it before 0.1.10."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        for name in ("sys_info", "pickle", "storages", "tensors"):
            info = tarfile.TarInfo(name)
            content = code if name in {"pickle", "storages"} else pickle.dumps({}, 2)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return made.getvalue()


CONTAINERS: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "a bare pickle": ("best_model.pt", bytes),
    "torch's zip": ("best_model.pt", _zipped),
    "torch's old format": ("best_model.pt", _legacy),
    "torch's oldest format": ("best_model.pt", _tarred),
    "a file named safetensors": ("model.safetensors", bytes),
}
