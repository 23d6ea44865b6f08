"""A network as ncnn reads it: a text that names its layers, and their weights in its order.

torch.fx follows the network, and batch norms are folded into the convolutions before them. What is
known here are the operations of the architectures that an artifact may name; any other is refused.
`ncnn_engine` calls it. Sources: ncnn's pages on the structure of its files and on the options and
weights of its layers.
"""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from torch import Tensor, fx, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from model_server.errors import EngineUnavailable

INPUT, OUTPUT = "pictures", "probabilities"
_MAGIC = 7767517
_AS_THEY_ARE = bytes(4)
"""Before weights in float32."""
_RELU: Final = (nn.ReLU, functional.relu)
_POOLS_ALONE: Final[Mapping[str, object]] = MappingProxyType(
    {"stride": None, "padding": 0, "dilation": 1, "ceil_mode": False, "return_indices": False}
)


@dataclass(frozen=True)
class _Layer:
    """One of ncnn's; `inputs` are the numbers of the layers before it."""

    kind: str
    inputs: tuple[int, ...]
    options: str = ""


def write(network: nn.Module) -> tuple[str, bytes]:
    """Return the layers and the weights of a network in evaluation mode.

    It takes one picture as INPUT, 3 x H x W float32, and gives OUTPUT, the softmax of its logits.

    Raises:
        EngineUnavailable: the network has an operation that is not known here, or torch.fx cannot
            follow it; the sentence says which.

    """
    try:
        traced = fx.symbolic_trace(network)
    except Exception as error:  # whatever the network's code raises when it is followed
        raise EngineUnavailable(f"torch.fx cannot follow the network: {error}") from error
    return _Writer(traced).write()


class _Writer:
    """Writes one layer after the other."""

    def __init__(self, traced: fx.GraphModule) -> None:
        self._nodes = traced.graph.nodes
        self._modules = dict(traced.named_modules())
        self._layers = [_Layer("Input", ())]
        self._weights = bytearray()
        self._number: dict[fx.Node, int] = {}
        """Of the layer that gives what a node gives."""
        self._known: dict[Any, Callable[[fx.Node], None]] = {
            nn.Conv2d: self._convolution,
            nn.Linear: self._linear,
            **dict.fromkeys(_RELU, self._relu),
            functional.max_pool2d: self._max_pool,
            operator.add: self._sum,
            "mean": self._mean,
        }

    def write(self) -> tuple[str, bytes]:
        """See the function of that name."""
        for node in self._nodes:
            if node.op == "placeholder":
                self._number[node] = 0
            elif node.op == "output":
                self._layers.append(_Layer("Softmax", self._inputs(node), "0=0 1=1"))
            elif node not in self._number:  # else it was written with the one before it
                self._known.get(self._operation(node), self._refuse)(node)
        return _text(self._layers), bytes(self._weights)

    def _operation(self, node: fx.Node) -> object:
        return type(self._modules[str(node.target)]) if node.op == "call_module" else node.target

    def _refuse(self, node: fx.Node) -> None:
        operation = self._operation(node)
        name = operation.__name__ if isinstance(operation, type) else node.name
        raise EngineUnavailable(f"{name}, as this network has it, is not written for ncnn")

    def _add(self, node: fx.Node, kind: str, options: str = "") -> None:
        self._layers.append(_Layer(kind, self._inputs(node), options))
        self._number[node] = len(self._layers) - 1

    def _inputs(self, node: fx.Node) -> tuple[int, ...]:
        return tuple(self._number[given] for given in node.all_input_nodes)

    def _follower(self, node: fx.Node, *operations: object) -> fx.Node | None:
        """What alone uses the node's result, if it is one of these."""
        users = list(node.users)
        return users[0] if len(users) == 1 and self._operation(users[0]) in operations else None

    def _convolution(self, node: fx.Node) -> None:
        layer: Any = self._modules[str(node.target)]
        if layer.groups != 1 or layer.padding_mode != "zeros" or isinstance(layer.padding, str):
            self._refuse(node)
        last = node
        if norm := self._follower(last, nn.BatchNorm2d):
            layer, last = fuse_conv_bn_eval(layer, self._modules[str(norm.target)]), norm
        relu = self._follower(last, *_RELU)
        options = {0: layer.out_channels, 5: int(layer.bias is not None), 9: int(relu is not None)}
        options[6] = layer.weight.numel()
        sides = (layer.kernel_size, layer.dilation, layer.stride, layer.padding)
        for number, (height, width) in enumerate(sides, start=1):
            options |= {number: width, number + 10: height}
        self._add(node, "Convolution", " ".join(f"{key}={value}" for key, value in options.items()))
        self._take(layer)
        self._number |= {done: self._number[node] for done in (last, relu) if done is not None}

    def _linear(self, node: fx.Node) -> None:
        layer: Any = self._modules[str(node.target)]
        options = f"0={layer.out_features} 1={int(layer.bias is not None)} 2={layer.weight.numel()}"
        self._add(node, "InnerProduct", options)
        self._take(layer)

    def _relu(self, node: fx.Node) -> None:
        self._add(node, "ReLU")

    def _max_pool(self, node: fx.Node) -> None:
        _, size = node.args
        if not isinstance(size, int) or not node.kwargs.items() <= _POOLS_ALONE.items():
            self._refuse(node)
        self._add(node, "Pooling", f"0=0 1={size} 2={size} 5=1")

    def _mean(self, node: fx.Node) -> None:
        if len(node.args) != 1 or node.kwargs != {"dim": (2, 3)}:
            self._refuse(node)
        self._add(node, "Pooling", "0=1 4=1")

    def _sum(self, node: fx.Node) -> None:
        if len(self._inputs(node)) != len(node.args):  # a number is added, or it to itself
            self._refuse(node)
        self._add(node, "BinaryOp", "0=0")

    def _take(self, layer: Any) -> None:
        self._weights += _AS_THEY_ARE + _bytes(layer.weight)
        if layer.bias is not None:
            self._weights += _bytes(layer.bias)


def _bytes(values: Tensor) -> bytes:
    return values.detach().numpy().astype("<f4").tobytes()


def _text(layers: list[_Layer]) -> str:
    """Return ncnn's text: who is read by several layers is split first, into a blob for each."""
    readers = Counter(number for layer in layers for number in layer.inputs)
    blobs: dict[int, list[str]] = {}
    lines: list[str] = []
    count = 0

    def add(kind: str, inputs: list[str], outputs: list[str], options: str) -> None:
        nonlocal count
        count += len(outputs)
        numbers = f"{len(inputs)} {len(outputs)}"
        lines.append(" ".join((kind, f"l{len(lines)}", numbers, *inputs, *outputs, options)))

    for number, layer in enumerate(layers):
        name = {0: INPUT, len(layers) - 1: OUTPUT}.get(number, f"b{number}")
        add(layer.kind, [blobs[given].pop() for given in layer.inputs], [name], layer.options)
        blobs[number] = [name]
        if readers[number] > 1:
            blobs[number] = [f"{name}_{reader}" for reader in range(readers[number])]
            add("Split", [name], blobs[number].copy(), "")
    return "\n".join((str(_MAGIC), f"{len(lines)} {count}", *lines, ""))
