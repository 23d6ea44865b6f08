"""`model-train`: the command line of training.

Exit status 0 ok, 2 settings or data, 3 worse than the champion, 5 no MLflow.

This module only parses, and prints errors; the work is in `commands/`.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import NoReturn

from model_training.errors import TrainingError

CIFAR10 = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"
INTERRUPTED = 130  # what a shell reports for a program that Ctrl-C ended

EXAMPLES = """\
examples:
  model-train prepare --synthetic 1000 --out data/raw
  model-train train --data data/raw --out artifact --name cats-dogs
  model-train evaluate --artifact artifact --data data/raw --split test
  model-train register --artifact artifact --name cats-dogs --alias champion

`model-train COMMAND --help` says more.
"""
PREPARE_EXAMPLES = """\
examples:
  model-train prepare --synthetic 1000 --out data/raw     500 cats and 500 dogs, drawn
  model-train prepare --cifar10 --out data/raw            10,000 photographs, 32 x 32
  model-train prepare --check photographs --report report.json    what is the matter with a folder
"""
TRAIN_EXAMPLES = """\
examples:
  model-train train --data data/raw --out artifact
  model-train train --data photographs --out artifact --recipe photographs --size 64
  model-train train --data data/raw --out artifact --resume       after it was killed
  MODEL_TRAIN_EPOCHS=20 model-train train --data data/raw --out artifact --config params.yaml
  MLFLOW_TRACKING_URI=http://127.0.0.1:5000 model-train train --data data/raw --out artifact

The data is one folder per class: data/raw/cat/1.jpg, data/raw/dog/1.jpg. Every image is held in
memory at the network's size. The same data, flags and machine give the same artifact.
"""
EVALUATE_EXAMPLES = """\
examples:
  model-train evaluate --artifact artifact --data held-out --json
  model-train evaluate --artifact artifact --data data/raw --split test

Use --split test on the folder of the training: the rest of it is what the model has learnt from.
"""
EXPORT_EXAMPLES = """\
examples:
  model-train export --artifact artifact --onnx --out exported
  model-train train --data data/raw --out artifact --checkpoint best_model.pt
  model-train export --checkpoint best_model.pt --out exported
"""
REGISTER_EXAMPLES = """\
examples:
  model-train register --artifact artifact --name cats-dogs
  model-train register --artifact artifact --name cats-dogs --alias champion --json

A model that is worse than the champion on the same test images is refused with status 3.
The run that trained the artifact is found on the MLflow server by the artifact's digest. Where
there is none, the artifact is uploaded in a run of its own; --data then says what it has learnt
from.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit status."""
    arguments = _parser().parse_args(argv)
    set_environment()
    command = import_module(f"model_training.commands.{arguments.command}")
    try:
        summary = command.run(arguments)
    except TrainingError as error:
        print(f"model-train {arguments.command}: {error}", file=sys.stderr)
        return error.exit_status
    except OSError as error:
        print(f"model-train {arguments.command}: {_cause(error)}", file=sys.stderr)
        return TrainingError.exit_status
    except KeyboardInterrupt:
        print(f"model-train {arguments.command}: interrupted", file=sys.stderr)
        return INTERRUPTED
    report = import_module("model_training.report")
    report.show(arguments.command, summary, as_json=arguments.json)
    return 0


def _cause(error: OSError) -> str:
    """What the machine refuses: a full disk, a folder without rights, a file that went away."""
    where = f"{error.filename}: " if error.filename else ""
    return f"{where}{error.strerror or error}; make room or give the right to it, and try again"


def set_environment() -> None:
    """Sets for the libraries what nobody else has set; before torch is loaded, which reads it.

    Idle threads of OpenMP spin by default and starve their own siblings on a busy machine; those
    that sleep at once make small networks a quarter slower, so they spin for some microseconds.
    CUDA's matrix products are the same twice only in a workspace of a fixed size.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


class _Parser(argparse.ArgumentParser):
    """Says what is wrong with the flags in one sentence, without the whole usage before it."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (`{self.prog} --help` says more)\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="model-train",
        description="From a folder of images to a registered, verified model.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, description: str, epilog: str) -> argparse.ArgumentParser:
        added = commands.add_parser(
            name,
            help=description,
            description=description,
            epilog=epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        added.add_argument("--json", action="store_true", help="print the summary as JSON")
        return added

    _prepare_flags(command("prepare", "make a data set of drawn cats and dogs", PREPARE_EXAMPLES))
    _train_flags(command("train", "train, log to MLflow and write the artifact", TRAIN_EXAMPLES))
    _evaluate_flags(command("evaluate", "judge an artifact on a folder", EVALUATE_EXAMPLES))
    _export_flags(command("export", "make an artifact from a checkpoint", EXPORT_EXAMPLES))
    _register_flags(command("register", "create a model version in MLflow", REGISTER_EXAMPLES))
    return parser


def _prepare_flags(parser: argparse.ArgumentParser) -> None:
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--synthetic", type=int, metavar="N", help="how many pictures to draw")
    what.add_argument(
        "--cifar10", action="store_true", help="fetch 10,000 photographs of cats and dogs"
    )
    what.add_argument("--check", type=Path, metavar="FOLDER", help="only check this data folder")
    parser.add_argument("--out", type=Path, default=Path("data/raw"), help="the folder (data/raw)")
    parser.add_argument("--report", type=Path, help="write what the check finds here, as JSON")
    parser.add_argument("--url", default=CIFAR10, help="where --cifar10 fetches from")
    parser.add_argument("--seed", type=int, default=0, help="other seeds draw others (default 0)")


def _train_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, required=True, help="the folder of class folders")
    parser.add_argument("--out", type=Path, required=True, help="the artifact folder")
    parser.add_argument("--name", help="the model's name in model.json (image-classifier)")
    parser.add_argument(
        "--recipe",
        help="where the other values come from: drawings, or photographs, which is usual for images"
        " of at most 48 pixels",
    )
    parser.add_argument(
        "--config", type=Path, help="a YAML file of settings; what it says wins over the flags"
    )
    parser.add_argument("--size", type=int, help="height and width of the input in pixels (64)")
    parser.add_argument(
        "--channels",
        type=_numbers,
        help="3 for the colours, then the width of every block (3,16,32,64)",
    )
    parser.add_argument("--depth", type=int, help="residual units in each block (0)")
    parser.add_argument("--epochs", type=int, help="passes over the training images (10)")
    parser.add_argument(
        "--patience", type=int, help="end after so many epochs without a better one"
    )
    parser.add_argument("--batch-size", type=int, help="images per step (16)")
    parser.add_argument("--optimizer", help="adamw or sgd (adamw)")
    parser.add_argument("--learning-rate", type=float, help="peak of the schedule (0.01)")
    parser.add_argument("--weight-decay", type=float, help="of every weight, not of biases (0.01)")
    parser.add_argument("--label-smoothing", type=float, help="share spread over all classes (0)")
    parser.add_argument("--ema-decay", type=float, help="keep a running average of the weights (0)")
    parser.add_argument(
        "--flip", action=argparse.BooleanOptionalAction, default=None, help="mirror pictures (yes)"
    )
    parser.add_argument("--shift", type=float, help="move pictures by this share of a side (0.125)")
    parser.add_argument("--cutout", type=float, help="blank a square of this share of a side (0)")
    parser.add_argument("--color-jitter", type=float, help="change colours by about this share (0)")
    parser.add_argument(
        "--cutmix", type=float, help="mix pictures with others in this share of the batches (0)"
    )
    parser.add_argument("--seed", type=int, help="decides weights, order and augmentation (0)")
    parser.add_argument("--device", help="auto, cpu or cuda (auto)")
    parser.add_argument(
        "--precision", help="auto, float32 or bfloat16 (auto: that where the hardware has it)"
    )
    parser.add_argument("--threads", type=int, help="processor threads (as many as there are)")
    parser.add_argument("--validation-percent", type=int, help="chooses the best epoch (10)")
    parser.add_argument("--test-percent", type=int, help="kept for the figures at the end (10)")
    parser.add_argument("--records", type=Path, help="the folder of the run's records (OUT-run)")
    parser.add_argument(
        "--resume", action="store_true", help="go on after the last epoch that is in the records"
    )
    parser.add_argument("--onnx", action="store_true", help="also write model.onnx")
    parser.add_argument(
        "--checkpoint", type=Path, help="also keep the best weights here while training"
    )
    _tracking_flag(parser)


def _evaluate_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--artifact", type=Path, required=True, help="the artifact folder")
    parser.add_argument("--data", type=Path, required=True, help="the folder of class folders")
    parser.add_argument(
        "--split", choices=("all", "test"), default="all", help="which images of it (all)"
    )
    parser.add_argument(
        "--test-percent", type=int, default=10, help="as it was in the training (10)"
    )
    parser.add_argument("--out", type=Path, help="also write the figures here, as JSON")


def _export_flags(parser: argparse.ArgumentParser) -> None:
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--checkpoint", type=Path, help="a file of train")
    source.add_argument("--artifact", type=Path, help="an artifact, to be written with model.onnx")
    parser.add_argument("--out", type=Path, required=True, help="the artifact folder")
    parser.add_argument("--onnx", action="store_true", help="also write model.onnx, and prove it")


def _register_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--artifact", type=Path, required=True, help="the artifact folder")
    parser.add_argument("--name", help="the registered model (the name in model.json)")
    parser.add_argument("--alias", help="an alias that the new version gets, e.g. champion")
    parser.add_argument("--data", type=Path, help="the training data: where no run knows it")
    parser.add_argument(
        "--test-percent", type=int, default=10, help="as it was in the training (10)"
    )
    parser.add_argument(
        "--tolerance",
        type=float,
        default=0.01,
        help="how much worse than the champion it may be where that can be an accident (0.01)",
    )
    parser.add_argument(
        "--override", metavar="REASON", help="register it even if it is worse; kept as a tag"
    )
    _tracking_flag(parser)


def _tracking_flag(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--tracking-uri",
        default=os.environ.get("MLFLOW_TRACKING_URI") or "sqlite:///mlflow.db",
        help="an MLflow server or database (MLFLOW_TRACKING_URI, else sqlite:///mlflow.db)",
    )


def _numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError as error:
        message = f"expected numbers like 3,16,32,64, not {text!r}"
        raise argparse.ArgumentTypeError(message) from error
