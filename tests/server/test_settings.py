from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from model_server.errors import SettingsError
from model_server.settings import Settings, load


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MODEL_PATH", "/somewhere")
    monkeypatch.setenv("DRAIN_SECONDS", "2.5")
    settings = load()
    assert settings.model_path == Path("/somewhere")
    assert settings.drain_seconds == 2.5


def test_arguments_win_over_the_environment(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PORT", "1234")
    assert load(port=None).port == 1234
    assert load(port=4321).port == 4321


def test_an_empty_variable_counts_as_not_set(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MODEL_SHA256", "")
    monkeypatch.setenv("DRAIN_SECONDS", "")
    assert load().model_sha256 is None
    assert load().drain_seconds == 15


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "eighty"),
        ("PORT", "65536"),
        ("DRAIN_SECONDS", "-1"),
        ("REQUEST_TIMEOUT_SECONDS", "0"),
        ("MODEL_SHA256", "abc"),
        ("MODEL_SHA256", "A" * 64),
        ("LOG_LEVEL", "LOUD"),
        ("QUEUE_SIZE", "-1"),
        ("INFERENCE_THREADS", "0"),
    ],
)
def test_a_wrong_value_is_refused_by_one_sentence_that_names_it(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
):
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as refusal:
        load()
    assert re.fullmatch(
        rf"The setting {name} is '{value}', but .+: correct it and start again\.",
        str(refusal.value),
    )


def test_every_setting_is_described_in_the_code_and_in_the_documentation():
    source = inspect.getsource(Settings)
    documentation = Path("docs/server.md").read_text()
    for name in Settings.model_fields:
        assert re.search(rf'    {name}: [^\n]+\n    """', source), name
        assert f"`{name.upper()}`" in documentation, name
