from __future__ import annotations

import os
import statistics
from dataclasses import replace
from pathlib import Path

import pytest

from tests.bench_server import drawing
from tests.bench_server.contenders import CONTENDERS, Comparison, Start, engine_setting
from tests.bench_server.environments import Environment, server_requirements, torch_requirement
from tests.bench_server.material import MAIN, SETS, Material
from tests.bench_server.peers import engine
from tests.bench_server.protocols import PROTOCOLS, difference


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Material:
    folder = tmp_path_factory.mktemp("material")
    return drawing.make(folder, [replace(one, count=8) for one in SETS[:2]], lambda _: None)


def start(material: Material, scratch: Path, engine: str = "auto") -> Start:
    return Start(Path("/venv/bin/python"), 4321, material, scratch, engine)


def test_a_picture_is_the_same_each_time_and_another_for_each_number():
    first, second = drawing.draw(SETS[0], 0), drawing.draw(SETS[0], 1)
    assert first == drawing.draw(SETS[0], 0) != second


@pytest.mark.parametrize("pictures", SETS[:2])
def test_every_picture_of_a_set_has_a_size_in_its_range(pictures):
    sizes = [len(drawing.draw(pictures, number)) / 1000 for number in range(pictures.count)]
    assert pictures.kilobytes[0] <= min(sizes) < max(sizes) <= pictures.kilobytes[1]


def test_one_pictures_answer_cannot_be_taken_for_anothers(material):
    dogs = [answer[1] for answer in material.expected(MAIN)]
    assert statistics.stdev(dogs) > 0.1
    assert min(dogs) < 0.5 < max(dogs)


def test_this_servers_engine_answers_as_pytorch_does_in_the_peers(material, monkeypatch):
    monkeypatch.setenv("BENCH_ARTIFACT", str(material.artifact))
    model = engine.load()
    for picture, expected in zip(material.pictures(MAIN), material.expected(MAIN), strict=True):
        answer = engine.classify(model, picture)
        found = [answer["probabilities"][name] for name in ("cat", "dog")]
        assert difference(answer["label"], found, expected) == ""


def test_everybody_listens_on_the_port_that_is_asked_and_has_the_same_weights(material, tmp_path):
    for one in CONTENDERS:
        command = [str(word) for word in one.command(start(material, tmp_path))]
        assert command[0] == "/venv/bin/python"
        assert "4321" in command
        variables = one.variables(start(material, tmp_path))
        assert variables["BENCH_WEIGHTS"] == str(material.weights)
        assert one.protocol in PROTOCOLS
        assert variables["PATH"] == f"/venv/bin:{os.environ['PATH']}"


def test_the_engine_that_was_chosen_is_named_to_all_and_float32_to_the_one_that_shows_it(
    material, tmp_path
):
    told = {
        one.name: one.variables(start(material, tmp_path, "openvino-bf16"))["ENGINE"]
        for one in CONTENDERS
    }
    assert told.pop("ours-float32") == "openvino"
    assert set(told.values()) == {"openvino-bf16"}


@pytest.mark.parametrize(
    ("name", "setting"),
    [
        ("torch 2.13.0+cpu", "torch"),
        ("onnxruntime 1.22.0", "onnxruntime"),
        ("openvino 2025.2.0 float32", "openvino"),
        ("openvino 2025.2.0 bfloat16", "openvino-bf16"),
    ],
)
def test_an_engine_is_named_by_a_setting(name, setting):
    assert engine_setting(name) == setting


def test_only_those_that_run_this_projects_engine_have_this_project_installed():
    for one in CONTENDERS:
        ours = one.comparison in (Comparison.OURS, Comparison.SAME_ENGINE)
        assert one.environment.holds_the_server is ours


def test_another_version_is_another_environment_and_the_same_is_the_same():
    folders = {Environment("peer", (f"peer=={n}",)).folder for n in (1, 2, 1)}
    assert len(folders) == 2


def test_torch_is_of_one_version_everywhere_and_installed_apart():
    assert torch_requirement().startswith("torch==")
    needed = server_requirements()
    assert not [line for line in needed if line.startswith(("torch", "cv-factory"))]
    assert any(line.startswith("pillow") for line in needed)
