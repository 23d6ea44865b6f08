from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_server.errors import SettingsError
from model_server.settings import Settings, load, lookalikes
from tests.server.processes import ServerProcess

ROW = re.compile(r"^\| `([A-Z0-9_]+)` \|(.*?)\| .+ \|$", re.MULTILINE)
READ_BEFORE_THE_SETTINGS = {"TERMINATION_MESSAGE_PATH"}
SAID_IN_WORDS = {
    "MODEL_SHA256": "",
    "MODEL_NAME": "the one in `model.json`",
    "INFERENCE_THREADS": "one per CPU",
}
WRONG = [
    ("MODEL_SHA256", "abc"),
    ("MODEL_SHA256", "A" * 64),
    ("MODEL_NAME", "two\nlines"),
    ("MODEL_NAME", "x" * 254),
    ("MODEL_VERSION", "a\tb"),
    ("REVISION", "two words"),
    ("ENVIRONMENT", "\x7f"),
    ("LOG_LEVEL", "LOUD"),
    ("LOG_LEVEL", "info"),
    ("LOG_REQUESTS_PER_SECOND", "-1"),
    ("HOST", "two words"),
    ("HOST", "x" * 64),
    ("HOST", "a..b"),
    ("PORT", "eighty"),
    ("PORT", "65536"),
    ("DRAIN_SECONDS", "-1"),
    ("DRAIN_SECONDS", "15s"),
    ("REQUEST_TIMEOUT_SECONDS", "0"),
    ("REQUEST_TIMEOUT_SECONDS", "nan"),
    ("BODY_TIMEOUT_SECONDS", "0"),
    ("CONNECTION_MAX_AGE_SECONDS", "inf"),
    ("KEEP_ALIVE_SECONDS", "0"),
    ("MAX_CONNECTIONS", "0"),
    ("MAX_BODY_BYTES", "10MB"),
    ("MAX_BODIES_BYTES", "256Mi"),
    ("MAX_IMAGE_PIXELS", "0"),
    ("MAX_REQUEST_PIXELS", "0"),
    ("MAX_IMAGES_PER_REQUEST", "0"),
    ("QUEUE_SIZE", "-1"),
    ("MAX_QUEUE_SECONDS", "0"),
    ("INFERENCE_THREADS", "0"),
    ("INFERENCE_THREADS", "1.5"),
    ("ENGINE", "tensorrt"),
    ("DECODING", "half"),
    ("MIRROR_QUEUE_SIZE", "0"),
    ("MIRROR_QUEUE_BYTES", "0"),
    ("MIRROR_CONCURRENCY", "0"),
    ("MIRROR_TIMEOUT_SECONDS", "0"),
]
PATHS = {"MODEL_PATH", "MIRROR_CONFIG"}  # any text is a path; whether it is there is seen later


def names() -> list[str]:
    return [name.upper() for name in Settings.model_fields]


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


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_a_wrong_value_is_refused_by_one_sentence_that_names_it(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
):
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as refusal:
        load()
    sentence = str(refusal.value)
    assert sentence.startswith(f"The setting {name} is {value!r}, but ")
    assert sentence.endswith(": correct it and start again.")
    assert "pattern" not in sentence, "a regular expression tells few people what to do"
    assert "\n" not in sentence


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "::1", "fe80::1%eth0", "localhost", "a-b.c."])
def test_addresses_and_names_can_be_listened_on(host: str):
    assert load(host=host).host == host


def test_every_setting_can_be_wrong_in_a_way_that_is_tested():
    assert {name for name, _ in WRONG} | PATHS == set(names())


def test_every_setting_is_described_in_the_code():
    source = inspect.getsource(Settings)
    for name in Settings.model_fields:
        assert re.search(rf'    {name}: [^\n]+\n    """', source), name


def test_the_documented_settings_and_defaults_are_those_of_the_code():
    section = Path("docs/server.md").read_text().split("\n## Settings\n")[1].split("\n## ")[0]
    documented = dict(ROW.findall(section))
    settings = Settings()
    expected = {
        name.upper(): SAID_IN_WORDS.get(name.upper(), f"`{shown(getattr(settings, name))}`")
        for name in Settings.model_fields
    }
    for name in READ_BEFORE_THE_SETTINGS:
        del documented[name]
    assert {name: default.strip() for name, default in documented.items()} == expected


def shown(default: object) -> str:
    return f"{default:g}" if isinstance(default, float) else str(default)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("DRAIN_SECOND", "DRAIN_SECONDS"),
        ("DRAIN_SECS", None),
        ("drain_second", "DRAIN_SECONDS"),
        ("MODEL_SHA265", "MODEL_SHA256"),
        ("REQUEST_TIMEOUT_SECOND", "REQUEST_TIMEOUT_SECONDS"),
        ("MIRROR_CONFIGS", "MIRROR_CONFIG"),
        ("DRAIN_SECONDS", None),
        ("PORTS", None),
        ("MODEL_PORT", None),
        ("CATS_DOGS_SERVICE_HOST", None),
        ("QUEUE_PORT_80_TCP", None),
        ("PATH", None),
    ],
)
def test_a_variable_that_is_almost_a_setting_is_found(name: str, meant: str | None):
    assert lookalikes([name]) == ({name: meant} if meant else {})


@given(st.sampled_from([name for name in names() if len(name) > 10 and "_" in name]), st.data())
def test_one_letter_more_or_less_in_a_long_name_is_noticed(name: str, data: st.DataObject):
    place = data.draw(st.integers(0, len(name) - 1))
    for changed in (name[:place] + name[place + 1 :], name[:place] + "X" + name[place:]):
        assert lookalikes([changed]) or changed in names()


def test_a_variable_that_is_almost_a_setting_is_named_in_the_log(
    start_server: Callable[..., ServerProcess],
):
    server = start_server(drain_second=1)
    line = server.event("a variable is no setting")
    assert (line["variable"], line["perhaps_meant"]) == ("DRAIN_SECOND", "DRAIN_SECONDS")
    assert line["level"] == "warning"
