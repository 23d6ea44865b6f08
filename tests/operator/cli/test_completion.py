"""What kubectl is told when somebody presses the tabulator key."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence

import pytest

from model_operator.cli.completion import FILES, NO_FILES, complete


def models(words: Sequence[str]) -> list[str]:
    return ["cats", "cats-dogs", "dogs"]


@pytest.mark.parametrize(
    ("words", "unfinished", "found"),
    [
        ([], "ro", ["rollback"]),
        (["-n", "vision"], "re", ["retry", "resolve", "resume"]),
        (["status"], "cat", ["cats", "cats-dogs"]),
        (["deploy"], "--dr", ["--dry-run"]),
        (["deploy"], "", []),
        ([], "--con", ["--context"]),
    ],
)
def test_commands_options_and_names_are_completed(words, unfinished, found):
    assert complete(words, unfinished, models) == (found, NO_FILES)


@pytest.mark.parametrize("option", ["-f", "--filename", "--kubeconfig", "--picture"])
def test_files_are_left_to_the_shell(option):
    assert complete(["deploy", option], "exa", models) == ([], FILES)


def test_kubectl_reads_a_candidate_per_line_and_a_directive_last():
    code = "import sys; from model_operator.cli.completion import main; sys.exit(main())"
    command = [sys.executable, "-c", code, "ro"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "rollback\n:4\n"


def test_without_a_cluster_there_are_no_names_and_no_noise(tmp_path):
    code = "import sys; from model_operator.cli.completion import main; sys.exit(main())"
    words = ["status", "--kubeconfig", str(tmp_path / "absent"), ""]
    done = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, check=True
    )
    assert (done.stdout, done.stderr) == (":4\n", "")
