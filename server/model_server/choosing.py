"""Which engine and which decoding serve a model: the fastest that answer as the reference does.

`loading` calls `choose` once at start-up. The reference is what the model was trained with: Pillow
in full and PyTorch in float32. Every candidate is tried on drawn pictures and on noise, with this
model's own weights; one whose answers differ is refused however fast it is, and of the others the
one that takes the least processor time serves. docs/decisions/0023 says why.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np
import structlog
from torch import nn

from model_server import made_pictures
from model_server.artifact import Input
from model_server.engine import Engine
from model_server.errors import EngineUnavailable
from model_server.picture_files import judge
from model_server.preprocessing import Decoder, FloatArray, FullDecoder, PixelArray
from model_server.reduced_jpeg import ReducedDecoder
from model_server.torch_engine import CompiledTorchEngine, TorchEngine

LARGEST_DIFFERENCE = 0.01
"""Of any probability from the reference's."""
_TIE = 0.005
"""Where the reference's first and second are closer than this, either may be first."""
_PICTURES = 7
_NOISE = 4
_MOST_PIXELS = 2_500_000
"""In one drawn picture. The self-test has to be short."""
_TIMED = 5
_BFLOAT16 = "openvino-bf16"
_PACKAGES = {name: name for name in ("ncnn", "onnxruntime", "openvino")} | {_BFLOAT16: "openvino"}
_AUTOMATIC = ("torch", "ncnn", "onnxruntime", "openvino", _BFLOAT16)
"""What `auto` tries. To compile takes torch minutes, so that has to be asked for."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Choice:
    """What serves."""

    engine: Engine
    decoder: Decoder


@dataclass(frozen=True, slots=True)
class _Evidence:
    """What the candidates are tried on, and the reference's answers to it."""

    jpegs: list[bytes]
    noise: PixelArray
    expected: FloatArray
    """N x classes probabilities: of the pictures, then of the noise."""

    def answers(self, decoder: Decoder, engine: Engine) -> FloatArray:
        """Return a candidate's answers, in the order of `expected`; one picture at a time."""
        pictures = [decoder(jpeg, judge(jpeg, _MOST_PIXELS)) for jpeg in self.jpegs]
        rows = [engine.classify(pixels[np.newaxis]) for pixels in (*pictures, *self.noise)]
        return np.concatenate(rows)


def choose(
    network: nn.Module, spec: Input, *, engine: str = "auto", decoding: str = "auto"
) -> Choice:
    """Return the engine and the decoder for `network`, which any thread may call.

    `engine` and `decoding` are names as in `Settings`.

    Raises:
        EngineUnavailable: the one that is named cannot be used; the sentence says why.

    """
    reference, full = TorchEngine(network, spec), FullDecoder(spec)
    if engine == "torch" and decoding == "full":
        return Choice(reference, full)
    evidence = _gather(spec, reference, full)
    decoder = _choose_decoder(decoding, spec, reference, full, evidence)
    makers = _makers(network, spec, reference)
    if engine != "auto":
        return Choice(_named(engine, makers[engine], evidence, decoder), decoder)
    made = _fastest(_faithful(makers, evidence, decoder), evidence.noise[:1])
    return Choice(made or reference, decoder)


def _gather(spec: Input, reference: Engine, full: Decoder) -> _Evidence:
    jpegs = made_pictures.jpegs(spec, _PICTURES, _MOST_PIXELS)
    noise = made_pictures.pixels(spec, _NOISE)
    nothing = np.empty((0, 0), np.float32)
    expected = _Evidence(jpegs, noise, nothing).answers(full, reference)
    return _Evidence(jpegs, noise, expected)


def _choose_decoder(
    decoding: str, spec: Input, reference: Engine, full: Decoder, evidence: _Evidence
) -> Decoder:
    if decoding == "full" or (decoding == "auto" and not evidence.jpegs):
        return full
    reduced = ReducedDecoder(spec)
    try:
        _check(evidence, reduced, reference)
    except EngineUnavailable as reason:
        if decoding == "reduced":
            raise EngineUnavailable(
                f"JPEGs cannot be decoded at reduced scale: {reason}; set DECODING to full or auto."
            ) from reason
        log.info("decoding refused", decoding=reduced.name, reason=str(reason))
        return full
    return reduced


def _makers(
    network: nn.Module, spec: Input, reference: TorchEngine
) -> dict[str, Callable[[], Engine]]:
    """Return how each engine is made. A package is imported when its engine is."""

    def ncnn() -> Engine:
        from model_server.ncnn_engine import NcnnEngine  # noqa: PLC0415

        return NcnnEngine(network, spec, reference)

    def onnxruntime() -> Engine:
        from model_server.onnxruntime_engine import OnnxRuntimeEngine  # noqa: PLC0415

        return OnnxRuntimeEngine(network, spec, reference)

    def openvino(*, bfloat16: bool = False) -> Engine:
        from model_server.openvino_engine import OpenVinoEngine  # noqa: PLC0415

        return OpenVinoEngine(network, spec, reference, bfloat16=bfloat16)

    return {
        "torch": lambda: reference,
        "torch-compiled": lambda: CompiledTorchEngine(network, spec, reference),
        "ncnn": ncnn,
        "onnxruntime": onnxruntime,
        "openvino": openvino,
        _BFLOAT16: lambda: openvino(bfloat16=True),
    }


def _named(name: str, make: Callable[[], Engine], evidence: _Evidence, decoder: Decoder) -> Engine:
    if not _is_installed(name):
        raise EngineUnavailable(
            f"The engine {name} is not installed: install cv-factory[server-{_PACKAGES[name]}], or"
            " name another by ENGINE."
        )
    try:
        made = make()
        _check(evidence, decoder, made)
    except EngineUnavailable as reason:
        raise EngineUnavailable(
            f"The engine {name} cannot be used: {reason}; name another by ENGINE."
        ) from reason
    return made


def _faithful(
    makers: dict[str, Callable[[], Engine]], evidence: _Evidence, decoder: Decoder
) -> list[Engine]:
    """Return the engines that can be made here and answer as the reference does."""
    found = []
    for name in filter(_is_installed, _AUTOMATIC):
        try:
            made = makers[name]()
            _check(evidence, decoder, made)
            found.append(made)
        except EngineUnavailable as reason:
            log.info("engine refused", engine=name, reason=str(reason))
        except Exception:
            # The model can be served without it; whoever wants it reads why it is not.
            log.exception("engine failed", engine=name)
    return found


def _is_installed(name: str) -> bool:
    package = _PACKAGES.get(name)
    return package is None or find_spec(package) is not None


def _check(evidence: _Evidence, decoder: Decoder, engine: Engine) -> None:
    """Hold a candidate to the reference.

    Raises:
        EngineUnavailable: it is not as faithful as it has to be.

    """
    found = evidence.answers(decoder, engine)
    difference = largest_difference(evidence.expected, found)
    if difference > LARGEST_DIFFERENCE:
        raise EngineUnavailable(
            f"it changes this model's probabilities by up to {difference:.3g}, more than"
            f" {LARGEST_DIFFERENCE}"
        )
    flips = other_labels(evidence.expected, found)
    if flips:
        raise EngineUnavailable(f"it gives {flips} of {len(found)} made pictures another label")


def largest_difference(expected: FloatArray, found: FloatArray) -> float:
    """Return by how much any probability differs; infinite where only one of both is a number."""
    if not np.array_equal(np.isfinite(expected), np.isfinite(found)):
        return float("inf")
    return float(np.abs(np.nan_to_num(expected) - np.nan_to_num(found)).max(initial=0.0))


def other_labels(expected: FloatArray, found: FloatArray) -> int:
    """Return how many rows have another largest probability, ties left out."""
    ordered = np.sort(expected, axis=1)
    decided = ordered[:, -1] - ordered[:, -2] >= _TIE
    return int((decided & (expected.argmax(1) != found.argmax(1))).sum())


def _fastest(engines: Sequence[Engine], picture: PixelArray) -> Engine | None:
    times = {engine.name: _seconds(engine, picture) for engine in engines}
    log.info("engines tried", **{name: round(seconds * 1000, 3) for name, seconds in times.items()})
    return min(engines, key=lambda engine: times[engine.name], default=None)


def _seconds(engine: Engine, picture: PixelArray) -> float:
    """Return the processor time of one picture: whoever else is busy here does not count."""
    engine.classify(picture)
    durations = []
    for _ in range(_TIMED):
        started = time.process_time()
        engine.classify(picture)
        durations.append(time.process_time() - started)
    return min(durations)
