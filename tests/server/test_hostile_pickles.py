"""Pickles that run code, in every file that one can hide in."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from model_server.artifact import verify
from model_server.errors import WeightsRefused
from model_server.weights import load_network
from tests.server.artifacts import make_artifact
from tests.server.hostile_pickles import CODE, CONTAINERS


@pytest.mark.parametrize("code", CODE)
@pytest.mark.parametrize("container", CONTAINERS)
def test_a_pickle_whose_code_runs_elsewhere_is_refused_here_and_does_not_run(
    tmp_path: Path, code: str, container: str
):
    mark = tmp_path / "mark"
    content = CODE[code](mark)
    pickle.loads(content)
    mark.rmdir()  # it was there

    name, wrap = CONTAINERS[container]
    folder = make_artifact(
        tmp_path / "artifact",
        weights_name=name,
        write_weights=lambda path: path.write_bytes(wrap(content)) and None,
    )
    with pytest.raises(WeightsRefused) as refusal:
        load_network(verify(folder))
    assert name in str(refusal.value)
    assert not mark.exists()
