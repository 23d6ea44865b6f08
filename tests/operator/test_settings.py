"""The operator's settings: what is wrong is said in one sentence that names the variable."""

from __future__ import annotations

import pytest

from model_operator.errors import SettingsError
from model_operator.settings import Settings

IMAGE = {"CV_FACTORY_SERVER_IMAGE": "example/server:1"}


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("CV_FACTORY_WORKERS", "0"),
        ("CV_FACTORY_WORKERS", "257"),
        ("CV_FACTORY_WORKERS", "many"),
        ("CV_FACTORY_RESYNC_SECONDS", "9"),
        ("CV_FACTORY_RESYNC_SECONDS", "nan"),
        ("CV_FACTORY_LOG_LEVEL", "loud"),
        ("CV_FACTORY_SWEEP_SECONDS", "0.5"),
        ("CV_FACTORY_NAMESPACES", "vision,Not A Name"),
        ("CV_FACTORY_HEALTH_PORT", "65536"),
        ("CV_FACTORY_HEALTH_PORT", "-1"),
        ("CV_FACTORY_POD_ACCESS", "tunnel"),
        ("CV_FACTORY_LEASE_SECONDS", "2"),
        ("CV_FACTORY_LEASE_SECONDS", "-1"),
        ("CV_FACTORY_LEASE_SECONDS", "15s"),
        ("CV_FACTORY_LEASE_NAMESPACE", "Not A Name"),
        ("CV_FACTORY_LEASE_NAME", "not_a_name"),
        ("CV_FACTORY_POD_NAME", "not_a_name"),
        ("CV_FACTORY_TRACK_ROLLOUTS", "perhaps"),
        ("CV_FACTORY_CLUSTER_NAME", "Prod"),
        ("CV_FACTORY_CLUSTER_NAME", "prod/1"),
        ("CV_FACTORY_ROLLOUTS_EXPERIMENT", "x" * 501),
        ("CV_FACTORY_PROMETHEUS_URL", "prometheus:9090"),
        ("CV_FACTORY_PROMETHEUS_URL", "http://user:secret@prometheus:9090"),
        ("CV_FACTORY_ALLOWED_SCHEMES", "models,ftp"),
        ("CV_FACTORY_ALLOWED_SCHEMES", "https://"),
        ("CV_FACTORY_ALLOWED_HOSTS", "example.com,https://example.com"),
        ("CV_FACTORY_ALLOWED_HOSTS", "example.com:443"),
        ("CV_FACTORY_ALLOWED_HOSTS", "*"),
        ("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db"),
        ("MLFLOW_TRACKING_URI", "mlflow:5000"),
        ("MLFLOW_TRACKING_URI", "http://"),
        ("MLFLOW_TRACKING_URI", "http://[::1"),
    ],
)
def test_a_wrong_value_is_one_sentence_that_names_the_variable(variable, value):
    with pytest.raises(SettingsError) as raised:
        Settings.from_environment({**IMAGE, variable: value})
    sentence = str(raised.value)
    assert sentence.startswith(f"{variable}: ")
    assert len(sentence.splitlines()) == 1


@pytest.mark.parametrize("environment", [{}, {"CV_FACTORY_SERVER_IMAGE": ""}])
def test_a_missing_value_is_one_sentence_that_names_the_variable(environment):
    with pytest.raises(SettingsError, match=r"^CV_FACTORY_SERVER_IMAGE: Field required$"):
        Settings.from_environment(environment)


def test_an_empty_variable_counts_as_not_set_and_other_programs_variables_are_not_read():
    environment = {**IMAGE, "CV_FACTORY_WORKERS": "", "MLFLOW_TRACKING_URI": "", "PATH": "/bin"}
    environment |= {"CV_FACTORY_OPERATOR_SERVICE_HOST": "10.96.0.7"}  # as Kubernetes does
    assert Settings.from_environment(environment) == Settings(server_image="example/server:1")


def test_values_are_read_by_their_names():
    settings = Settings.from_environment(
        {
            **IMAGE,
            "CV_FACTORY_WORKERS": "3",
            "CV_FACTORY_LOG_LEVEL": "debug",
            "MLFLOW_TRACKING_URI": "https://mlflow.example/prefix/",
            "MLFLOW_TRACKING_USERNAME": "operator",
            "MLFLOW_TRACKING_PASSWORD": "hunter2",
        }
    )
    assert (settings.workers, settings.log_level) == (3, "debug")
    assert settings.tracking_uri == "https://mlflow.example/prefix/"
    assert (settings.tracking_username, settings.tracking_password) == ("operator", "hunter2")


@pytest.mark.parametrize("seconds", [0, 3, 15])
def test_a_lease_is_none_or_long_enough_to_be_renewed(seconds: int):
    environment = {**IMAGE, "CV_FACTORY_LEASE_SECONDS": str(seconds)}
    assert Settings.from_environment(environment).lease_seconds == seconds


@pytest.mark.parametrize("level", ["debug", "DEBUG", "Debug"])
def test_the_log_level_is_written_in_either_case(level: str):
    settings = Settings.from_environment({**IMAGE, "CV_FACTORY_LOG_LEVEL": level})
    assert settings.log_level == "debug"


@pytest.mark.parametrize(
    ("environment", "tracks"),
    [
        ({}, False),
        ({"MLFLOW_TRACKING_URI": "http://mlflow:5000"}, True),
        (
            {"MLFLOW_TRACKING_URI": "http://mlflow:5000", "CV_FACTORY_TRACK_ROLLOUTS": "false"},
            False,
        ),
        ({"CV_FACTORY_TRACK_ROLLOUTS": "true"}, False),
    ],
)
def test_rollouts_are_tracked_where_there_is_a_server_and_nobody_says_no(environment, tracks):
    assert Settings.from_environment(IMAGE | environment).tracks_rollouts is tracks


def test_namespaces_are_separated_by_commas_and_none_means_all():
    assert Settings.from_environment(IMAGE).namespaces == ()
    environment = {**IMAGE, "CV_FACTORY_NAMESPACES": "vision, audio,,vision"}
    assert Settings.from_environment(environment).namespaces == ("audio", "vision")


def test_what_is_allowed_is_separated_by_commas_and_without_it_the_own_registry_and_claims_are():
    settings = Settings.from_environment(IMAGE)
    assert settings.allowed_schemes == ("models", "runs", "pvc")
    assert settings.allowed_hosts == ()
    environment = {
        "CV_FACTORY_ALLOWED_SCHEMES": "HTTPS, models,",
        "CV_FACTORY_ALLOWED_HOSTS": "Models.Example.com, *.example.org,[::0001],*.example.org",
    }
    settings = Settings.from_environment(IMAGE | environment)
    assert settings.allowed_schemes == ("models", "https")
    assert settings.allowed_hosts == ("*.example.org", "::1", "models.example.com")


def test_passwords_and_tokens_are_not_shown():
    settings = Settings.from_environment(
        {**IMAGE, "MLFLOW_TRACKING_PASSWORD": "hunter2", "MLFLOW_TRACKING_TOKEN": "s3cr3t"}
    )
    assert "hunter2" not in f"{settings!r} {settings}"
    assert "s3cr3t" not in f"{settings!r} {settings}"


@pytest.mark.parametrize("login", ["operator:hunter2", "hunter2", ":hunter2"])
def test_a_registry_address_that_carries_a_password_is_refused_without_repeating_it(login):
    environment = {**IMAGE, "MLFLOW_TRACKING_URI": f"http://{login}@mlflow:5000"}
    with pytest.raises(SettingsError, match="MLFLOW_TRACKING_PASSWORD") as raised:
        Settings.from_environment(environment)
    assert "hunter2" not in str(raised.value)
