"""The pages of docs/strategies say what is so: their examples, states, sizes and situations."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from model_operator import canonical, reasons, validation
from model_operator.rollout import canary
from model_operator.rollout.view import State
from tests.operator.conftest import Kubectl

ROOT = Path(__file__).resolve().parents[2]
PAGES = {
    "standard": "cats-dogs",
    "recreate": "recreate",
    "canary": "canary",
    "blue-green": "blue-green",
    "shadow": "shadow",
}
"""By page, the example that it shows."""
MODULES = {"blue-green": "blue_green"}
SITUATIONS = [
    "a pod dies",
    "never ready",
    "analysis fails",
    "no traffic",
    "the spec changes in the middle",
    "reverted in the middle",
    "replicas changed",
    "paused",
    "operator dies",
    "provider changed",
    "rollback",
    "status lost",
]
EVERYWHERE = {State.SWITCHED, State.COMPLETE, State.FAILED}
"""What every rollout comes to by rules that the strategies share."""

Body = dict[str, Any]


def page(name: str) -> str:
    return (ROOT / "docs" / "strategies" / f"{name}.md").read_text()


def block(name: str, language: str) -> str:
    found = re.findall(rf"^```{language}\n(.*?)^```$", page(name), re.DOTALL | re.MULTILINE)
    assert len(found) == 1, f"{name}.md has {len(found)} blocks of {language}"
    text: str = found[0]
    return text


def rows(name: str, heading: str) -> list[list[str]]:
    """The cells of the section's first table, without its head."""
    section = page(name).split(f"\n## {heading}\n")[1].split("\n## ")[0]
    table = re.search(r"(?:^\|.*\|\n)+", section, re.MULTILINE)
    assert table is not None
    lines = table[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


@pytest.mark.parametrize(("name", "example"), PAGES.items())
def test_a_page_shows_its_example_word_for_word(name: str, example: str):
    assert block(name, "yaml") == (ROOT / "examples" / f"{example}.yaml").read_text()
    assert f"kubectl apply -f examples/{example}.yaml" in page(name)


def test_the_page_of_autoscaling_shows_its_example_word_for_word():
    text = (ROOT / "docs" / "autoscaling.md").read_text()
    assert (ROOT / "examples" / "autoscaling.yaml").read_text() in text


def examples() -> list[Path]:
    return sorted((ROOT / "examples").glob("*.yaml"))


@pytest.mark.parametrize("path", examples(), ids=lambda path: path.stem)
def test_every_example_is_valid(path: Path):
    assert validation.refusal(yaml.safe_load(path.read_text())) is None


@pytest.mark.api
@pytest.mark.parametrize("path", examples(), ids=lambda path: path.stem)
def test_an_api_server_takes_every_example_as_it_is(path: Path, kubectl: Kubectl, namespace: str):
    kubectl("apply", "-n", namespace, "-f", str(path))
    found = kubectl("get", "md", "cats-dogs", "-n", namespace, "-o", "json")
    written = yaml.safe_load(path.read_text())["spec"]
    stored = json.loads(found.stdout)["spec"]
    assert canonical.is_subset(written, stored)


def test_every_strategy_has_a_page_and_an_example():
    shown = {
        yaml.safe_load((ROOT / "examples" / f"{example}.yaml").read_text())["spec"]["strategy"][
            "type"
        ]
        for example in PAGES.values()
    }
    assert shown == {"Standard", "Recreate", "Canary", "BlueGreen", "Shadow"}
    assert {path.stem for path in (ROOT / "docs" / "strategies").glob("*.md")} == {*PAGES}


def as_reason(state: State) -> str:
    """The reason by which status shows a state."""
    if state is State.FAILED:
        return reasons.ROLLED_BACK
    return state.value.title().replace(" ", "")


def states_named_by(module: str) -> set[State]:
    """The states that the strategy's own module speaks of; a pause freezes each of them."""
    source = (ROOT / "operator/model_operator/rollout" / f"{module}.py").read_text()
    named = {
        State[node.attr]
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "State"
    }
    return named - {State.PAUSED, State.SCALING}


@pytest.mark.parametrize("name", PAGES)
def test_a_diagram_has_the_states_of_the_code_under_the_reasons_of_status(name: str):
    edges = re.findall(r"^ +(\S+) --> (\S+?)(?::|$)", block(name, "mermaid"), re.MULTILINE)
    drawn = {state for edge in edges for state in edge} - {"[*]"}
    states = states_named_by(MODULES.get(name, name)) | EVERYWHERE
    assert drawn == {as_reason(state) for state in states}
    documented = {value for key, value in vars(reasons).items() if key.isupper()}
    assert drawn <= documented


@pytest.mark.parametrize("name", PAGES)
def test_every_state_of_a_diagram_is_reached_and_left(name: str):
    edges = re.findall(r"^ +(\S+) --> (\S+?)(?::|$)", block(name, "mermaid"), re.MULTILINE)
    reached = {"[*]"}
    for _ in edges:
        reached |= {to for origin, to in edges if origin in reached}
    assert reached == {state for edge in edges for state in edge}
    assert {origin for origin, _ in edges} == reached


@pytest.mark.parametrize("name", PAGES)
def test_a_page_says_what_happens_in_every_situation(name: str):
    told = [row[0] for row in rows(name, "What happens when")]
    assert told[: len(SITUATIONS)] == SITUATIONS
    assert all(row[1] for row in rows(name, "What happens when"))


def test_the_sizes_of_a_canary_are_those_of_the_code():
    replicas = 4
    for weight, exact, by_service, share in rows("canary", "What it costs"):
        asked = int(weight)
        assert int(exact) == canary.pods_for(asked, replicas, exact=True)
        pods = canary.pods_for(asked, replicas, exact=False)
        assert int(by_service) == pods
        assert share.startswith(f"{round(100 * pods / (pods + replicas))}%")


LINKED = [
    *(ROOT / "docs" / "strategies").glob("*.md"),
    *(ROOT / "docs").glob("*.md"),
    *ROOT.glob("*.md"),
]


@pytest.mark.parametrize("path", LINKED, ids=lambda path: path.stem)
def test_every_link_to_a_file_of_the_repository_leads_there(path: Path):
    for link in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", path.read_text()):
        assert (path.parent / link).exists(), link


def anchors(path: Path) -> set[str]:
    titles = re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("path", LINKED, ids=lambda path: path.stem)
def test_every_link_to_a_heading_leads_there(path: Path):
    for link, anchor in re.findall(r"\]\(([^)#:\s]*)#([^)]+)\)", path.read_text()):
        target = path.parent / link if link else path
        assert anchor in anchors(target), f"{link}#{anchor}"
