"""The command line: what is understood, and what is refused with status 2."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

import pytest

from model_operator.actions import Verb
from model_operator.cli.arguments import ACTION_VERBS, duration, parse
from tests.operator.cli.command import kubectl_md


@pytest.mark.parametrize(
    ("text", "seconds"), [("30s", 30), ("10m", 600), ("1h30m", 5400), ("1.5s", 1.5), ("2m5s", 125)]
)
def test_durations_are_written_as_kubectl_takes_them(text, seconds):
    assert duration(text) == seconds


@pytest.mark.parametrize("text", ["", "5", "m", "5 m", "-5m", "5d", "1m?", "..s"])
def test_what_is_not_a_duration_is_refused_with_an_example(text):
    with pytest.raises(argparse.ArgumentTypeError, match="write 30s"):
        duration(text)


@pytest.mark.parametrize(
    "words",
    [
        ["-n", "vision", "--context", "prod", "status"],
        ["status", "-n", "vision", "--context", "prod"],
        ["--context", "prod", "status", "--namespace=vision"],
    ],
)
def test_kubectls_own_options_stand_before_or_after_the_command(words):
    parsed = parse(words)
    assert (parsed.namespace, parsed.context, parsed.kubeconfig) == ("vision", "prod", None)


def test_every_action_is_a_command():
    assert {*ACTION_VERBS, "rollback"} == {verb.value for verb in Verb}
    for verb in Verb:
        assert parse([verb.value, "cats-dogs"]).timeout == 30


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["explode"],
        ["deploy"],
        ["promote"],
        ["smoke"],
        ["smoke", "cats-dogs", "--url", "http://h"],
        ["load", "cats-dogs", "--rate", "0", "--duration", "5s"],
        ["load", "cats-dogs", "--rate", "nan", "--duration", "5s"],
        ["load", "cats-dogs", "--rate", "5"],
        ["load", "cats-dogs", "--rate", "5", "--duration", "5s", "--connections", "0"],
        ["rollback", "cats-dogs", "2a5c629232", "--to", "1"],
    ],
)
async def test_a_command_that_is_not_complete_ends_with_status_2_and_the_usage(words):
    done = await kubectl_md(*words)
    assert done.status == 2
    assert "usage: kubectl md" in done.err


def test_the_help_of_the_real_command_needs_no_kubernetes_client():
    code = (
        "import sys; from model_operator.cli.main import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "print(sorted({'kubernetes', 'aiohttp', 'pydantic', 'asyncio'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "rollback" in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "there is no kubeconfig"),
        ("{}", "no way to an API server"),
        ("a: [", "no way to an API server"),
        ("- 1", "no way to an API server"),
    ],
)
async def test_a_kubeconfig_that_leads_nowhere_is_told_in_one_sentence(
    tmp_path: Path, content, words
):
    kubeconfig = tmp_path / "kubeconfig"
    if content is not None:
        kubeconfig.write_text(content)
    done = await kubectl_md("status", "--kubeconfig", str(kubeconfig))
    assert done.status == 2
    assert len(done.err.splitlines()) == 1
    assert words in done.err
    assert "--kubeconfig" in done.err


def test_an_api_server_that_does_not_answer_is_told_in_one_sentence_by_the_real_command(
    tmp_path: Path,
):
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(
        "current-context: c\n"
        "contexts: [{name: c, context: {cluster: c, user: u}}]\n"
        "users: [{name: u, user: {token: secret-token}}]\n"
        "clusters: [{name: c, cluster: {server: 'http://127.0.0.1:1'}}]\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "model_operator.cli", "abort", "cats-dogs"],
        env=os.environ | {"KUBECONFIG": f"{tmp_path / 'absent'}:{kubeconfig}"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert "http://127.0.0.1:1 does not answer" in done.stderr
    assert "secret-token" not in done.stderr
    assert len(done.stderr.splitlines()) == 1
