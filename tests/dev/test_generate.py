"""`make generate` and `make verify`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from dev import generate


def main(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["dev.generate", *arguments])
    return generate.main()


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout in which nothing was generated yet."""
    monkeypatch.setattr(generate, "ROOT", tmp_path)
    return tmp_path


def test_the_committed_files_are_fresh(pytestconfig: pytest.Config):
    done = subprocess.run(
        [sys.executable, "-m", "dev.generate", "--check"],
        cwd=pytestconfig.rootpath,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_what_was_generated_is_fresh(root: Path, monkeypatch):
    assert main(monkeypatch) == 0
    assert main(monkeypatch, "--check") == 0


@pytest.mark.parametrize("change", ["edited", "missing"])
def test_a_stale_file_is_named_and_left_as_it_is_until_it_is_generated_anew(
    root: Path, monkeypatch, capsys, change
):
    main(monkeypatch)
    path = root / "charts/cv-factory/templates/crd.yaml"
    fresh = path.read_text()
    if change == "edited":
        path.write_text(fresh.replace("ModelDeployment", "Something", 1))
    else:
        path.unlink()
    assert main(monkeypatch, "--check") == 1
    said = capsys.readouterr().out.strip()
    assert said == "stale: charts/cv-factory/templates/crd.yaml; run `make generate`"
    assert not path.exists() or path.read_text() != fresh
    assert main(monkeypatch) == 0
    assert path.read_text() == fresh


def test_a_value_that_is_there_twice_is_written_out_twice():
    shared = {"type": "string"}
    text = generate.as_yaml({"first": shared, "second": shared})
    assert "&" not in text
    assert yaml.safe_load(text) == {"first": shared, "second": shared}


def test_every_generated_file_says_that_it_is_not_to_be_edited():
    for path, text in generate.generated().items():
        assert "Do not edit" in text.splitlines()[0], path


def rendered(template: str, *, knows: bool) -> str:
    """What helm makes of the conditions that a chosen text is written with."""
    shown, lines = [True], []
    for line in template.splitlines(keepends=True):
        match line.removeprefix("{{- ").removesuffix(" }}\n"):
            case "if .knows":
                shown.append(knows)
            case "if not (.knows)":
                shown.append(not knows)
            case "else":
                shown[-1] = not shown[-1]
            case "end":
                shown.pop()
            case _ if all(shown):
                lines.append(line)
            case _:
                pass
    return "".join(lines)


TEXTS = st.lists(st.sampled_from(["a\n", "b\n", "  c: 1\n"]), max_size=8).map("".join)


@given(then=TEXTS, otherwise=TEXTS)
def test_a_choice_of_two_texts_renders_to_the_one_or_the_other(then: str, otherwise: str):
    template = generate.helm_choice(".knows", then, otherwise)
    assert rendered(template, knows=True) == then
    assert rendered(template, knows=False) == otherwise


def test_lines_that_two_texts_share_are_written_once():
    assert generate.helm_choice(".knows", "a\nb\n", "a\nb\n") == "a\nb\n"


def test_braces_of_a_description_are_no_template_of_helms():
    template = generate.helm_literal("a query of {{revision}} in {{ namespace }}")
    rest = template.replace('{{ "{{" }}', "")
    assert "{{" not in rest
    assert template.replace('{{ "{{" }}', "{{") == "a query of {{revision}} in {{ namespace }}"
