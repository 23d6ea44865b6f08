"""The pages that are written from the code name all of it."""

from __future__ import annotations

import re

from dev.reference import commands, metrics, reasons, settings
from model_operator import reasons as constants
from model_operator.cli.arguments import ACTION_VERBS
from model_operator.settings import Settings as OperatorSettings
from model_server.settings import Settings as ServerSettings


def first_cells(page: str) -> set[str]:
    return set(re.findall(r"^\| `([^`]+)`", page, re.MULTILINE))


def test_every_reason_is_there_with_its_meaning():
    wanted = {value for name, value in vars(constants).items() if name.isupper()}
    assert first_cells(reasons.page()) == wanted


def test_every_setting_is_there_with_the_name_that_the_process_reads():
    shown = first_cells(settings.page())
    for name in OperatorSettings.model_fields:
        prefix = "MLFLOW_" if name.startswith("tracking_") else "CV_FACTORY_"
        assert f"{prefix}{name.upper()}" in shown
    assert {name.upper() for name in ServerSettings.model_fields} <= shown
    assert {"ROUTER_THREADS", "PVC_ROOT"} <= shown


def test_every_process_shows_its_metrics_by_the_names_of_queries():
    shown = first_cells(metrics.page())
    assert {"http_requests_total", "cv_factory_leader", "model_router_requests_total"} <= shown
    assert "| `model_router_requests_total` | counter | `revision`, `code` |" in metrics.page()


def test_every_command_is_there_with_its_arguments():
    page = commands.page()
    for command in ("deploy", "status", "history", "rollback", "smoke", "load", *ACTION_VERBS):
        assert f"### kubectl md {command}\n" in page
    assert "### model-train register\n" in page
    assert "| `--wait` | end when Ready, or failed |" in page
    assert "`service`, `api-server`" in page
