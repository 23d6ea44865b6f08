"""`python -m dev.test`: real pytest runs over a small project, counted and judged."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from dev import test as runner
from dev.cluster.errors import ClusterError

SUMMARY = "{} passed, {} failed, {} skipped"
CONFIGURATION = "[pytest]\nmarkers =\n    api: needs a server\n"
ALL_KINDS = """
import pytest

@pytest.fixture
def broken():
    raise RuntimeError

def test_that_passes(): pass
def test_that_passes_too(): pass
def test_that_fails(): assert False
def test_whose_fixture_breaks(broken): pass
@pytest.mark.skip(reason="why")
def test_that_is_skipped(): pass
@pytest.mark.api
def test_of_the_api(): pass
"""
GREEN = """
import pytest

def test_that_passes(): pass
@pytest.mark.api
def test_of_the_api(): pass
"""


def cannot_be_had() -> None:
    raise ClusterError("there is no server here: install one.")


Run = Callable[..., int]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs the layers `unit` and `api` over a file of tests, on a machine of a given kind."""

    def run(
        tests: str,
        *layers: str,
        prepare_api: Callable[[], None] = lambda: None,
        ci: bool = False,
        apt_get: bool = False,
    ) -> int:
        (tmp_path / "pytest.ini").write_text(CONFIGURATION)
        (tmp_path / "test_small.py").write_text(tests)
        programs = tmp_path / "bin"
        programs.mkdir()
        if apt_get:
            (programs / "apt-get").touch(mode=0o755)
        monkeypatch.setenv("PATH", str(programs))
        monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # they take a second to load
        monkeypatch.setenv("CI", "true" if ci else "false")
        monkeypatch.setattr(runner, "ROOT", tmp_path)
        small = (
            runner.Layer("unit", "not api", lambda: None),
            runner.Layer("api", "api", prepare_api),
        )
        monkeypatch.setattr(runner, "LAYERS", small)
        monkeypatch.setattr(sys, "argv", ["dev.test", *layers])
        return runner.main()

    return run


@pytest.fixture
def lines(capfd: pytest.CaptureFixture[str]) -> Callable[[], list[str]]:
    """What was printed since it was last asked."""

    def read() -> list[str]:
        return capfd.readouterr().out.splitlines()

    return read


def test_each_kind_of_end_is_counted_and_a_failure_is_a_status_of_1(run: Run, lines):
    assert run(ALL_KINDS) == 1
    printed = lines()
    assert printed[-1] == SUMMARY.format(3, 2, 1)
    assert printed[-2].startswith("api   1 passed, 0 failed, 0 skipped in ")
    assert printed[-3].startswith("unit  2 passed, 2 failed, 1 skipped in ")


def test_all_layers_green_is_a_status_of_0(run: Run, lines):
    assert run(GREEN, ci=True) == 0
    assert lines()[-1] == SUMMARY.format(2, 0, 0)


def test_only_the_layers_that_are_named_are_run(run: Run, lines):
    assert run(ALL_KINDS, "api") == 0
    assert lines()[-1] == SUMMARY.format(1, 0, 0)


def test_a_layer_that_does_not_exist_is_refused_by_name(run: Run, capfd):
    with pytest.raises(SystemExit) as ended:
        run(GREEN, "unit", "integration")
    assert ended.value.code == 2
    assert "no such layer: integration" in capfd.readouterr().err


def test_a_file_that_cannot_be_imported_is_a_failure(run: Run, lines):
    assert run("import no_such_module", "unit") == 1
    assert lines()[-1] == SUMMARY.format(0, 1, 0)


def test_a_layer_without_a_single_test_is_a_failure(run: Run, lines):
    assert run("def test_that_passes(): pass", "unit", "api") == 1
    assert lines()[-1] == SUMMARY.format(1, 1, 0)


ALL_SKIPPED = GREEN.replace("(): pass\n@", "(): pass\n@pytest.mark.skip(reason='why')\n@")


@pytest.mark.parametrize(
    ("tests", "prepare"),
    [(GREEN, cannot_be_had), (ALL_SKIPPED, lambda: None)],
    ids=["it cannot be had", "all its tests are skipped"],
)
def test_a_skipped_layer_is_said_in_one_line_and_fails_only_where_it_may_not_be_skipped(
    run: Run, lines, tests, prepare
):
    assert run(tests, prepare_api=prepare) == 0
    printed = lines()
    assert [line for line in printed if line.startswith("api   skipped: ")]
    assert "skipped here, where it may not be: api" not in printed


@pytest.mark.parametrize("machine", [{"ci": True}, {"apt_get": True}], ids=["CI", "Debian"])
@pytest.mark.parametrize(
    ("tests", "prepare"),
    [(GREEN, cannot_be_had), (ALL_SKIPPED, lambda: None)],
    ids=["it cannot be had", "all its tests are skipped"],
)
def test_with_ci_or_as_root_on_debian_a_skipped_layer_is_a_failure(
    run: Run, lines, tests, prepare, machine
):
    strict = "ci" in machine or os.geteuid() == 0
    assert run(tests, prepare_api=prepare, **machine) == int(strict)
    assert ("skipped here, where it may not be: api" in lines()) is strict


def test_why_a_layer_cannot_be_had_is_its_line(run: Run, lines):
    run(GREEN, prepare_api=cannot_be_had)
    assert "api   skipped: there is no server here: install one." in lines()


def test_a_run_in_which_nothing_passed_is_never_green(run: Run):
    assert run(GREEN, "api", prepare_api=cannot_be_had) == 1


def test_the_layers_share_out_every_test_of_the_project():
    markers = [layer.marker for layer in runner.LAYERS]
    assert [layer.name for layer in runner.LAYERS] == ["unit", "api", "fault", "e2e"]
    assert markers == ["not api and not fault and not e2e", "api", "fault", "e2e"]


def test_make_shows_every_layer_as_a_target(pytestconfig: pytest.Config):
    help_text = subprocess.run(
        ["make", "help"], cwd=pytestconfig.rootpath, capture_output=True, text=True, check=True
    ).stdout
    for target in ("test", *(layer.name for layer in runner.LAYERS)):
        assert f"  {target} " in help_text
