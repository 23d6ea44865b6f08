from __future__ import annotations

import math
from dataclasses import replace

import pytest

from tests.bench_server.campaign import Plan, Record
from tests.bench_server.contenders import CONTENDERS
from tests.bench_server.figures import (
    FLOAT32,
    FLOOR,
    Figures,
    Key,
    Measurement,
    medians,
    percentile,
    targets,
)
from tests.bench_server.material import MAIN, SETS
from tests.bench_server.report import last_line, page, write

FIGURES = Figures(cpu_milliseconds=4.0, per_second=400.0, p50=2.0, p99=9.0)


def found(**cpu: float) -> dict[Key, Figures]:
    """Everybody at every number of connections, alike but for the CPU that is given."""
    names = {one.name.replace("-", "_"): one.name for one in CONTENDERS if not one.in_float32}
    names["floor"] = FLOOR
    return {
        Key(name, MAIN, number): replace(FIGURES, cpu_milliseconds=cpu.get(word, 4.0))
        for word, name in names.items()
        for number in (1, 2, 8, 32)
        if name != FLOOR or number < 8
    }


def verdict(name: str, figures: dict[Key, Figures], *, in_bfloat16: bool = False) -> object:
    (one,) = (t for t in targets(figures, in_bfloat16=in_bfloat16) if t.name == name)
    return one.met


def record(**cpu: float) -> Record:
    measured = {
        key: [Measurement(100, 0.25, one.cpu_milliseconds / 10, one.p50, one.p99)]
        for key, one in found(**cpu).items()
    }
    return Record(measured=measured, engine="torch 2", requests=1200)


@pytest.mark.parametrize(
    ("percent", "value"), [(1, 10), (50, 50), (51, 60), (90, 90), (99, 100), (100, 100)]
)
def test_a_percentile_is_the_smallest_value_that_so_many_are_not_above(percent, value):
    assert percentile([100, 20, 30, 40, 50, 60, 70, 80, 90, 10], percent) == value


def test_without_an_answer_every_time_is_infinite():
    assert percentile([], 50) == math.inf
    assert Measurement(0, 2.0, 1.0, math.inf, math.inf).cpu_milliseconds == math.inf


def test_a_figure_is_the_median_of_the_rounds_and_one_odd_round_moves_nothing():
    rounds = [
        Measurement(100, 2.0, 0.5, 1.0, 3.0),
        Measurement(100, 4.0, 9.0, 50.0, 70.0),
        Measurement(110, 2.0, 0.55, 1.2, 3.3),
    ]
    assert medians(rounds) == Figures(pytest.approx(5.0), 50.0, 1.2, 3.3)


@pytest.mark.parametrize(
    ("name", "cpu", "met"),
    [
        ("CPU of FastAPI, well written, ours in float32", {"fastapi": 7.2}, True),
        ("CPU of FastAPI, well written, ours in float32", {"fastapi": 7.1}, False),
        ("CPU of BentoML, ours in float32", {"bentoml": 12.0}, True),
        ("CPU of BentoML, ours in float32", {"bentoml": 11.9}, False),
        ("CPU of mlflow models serve, ours in float32", {"mlflow": 11.9}, False),
        ("CPU of LitServe with the same engine", {"litserve_engine": 8.0}, True),
        ("CPU of LitServe with the same engine", {"litserve_engine": 7.9}, False),
        ("CPU of FastAPI with the same engine", {"fastapi_engine": 4.1}, True),
        ("CPU of FastAPI with the same engine", {"fastapi_engine": 4.0}, False),
        ("HTTP and queueing, of the server's CPU", {"floor": 3.0}, True),
        ("HTTP and queueing, of the server's CPU", {"floor": 2.9}, False),
    ],
)
def test_a_comparison_of_cpu_is_met_from_its_factor_on(name, cpu, met):
    assert verdict(name, found(**cpu)) is met


def test_what_is_promised_in_bfloat16_is_not_measured_where_the_engine_computes_in_float32():
    assert verdict("CPU of FastAPI, well written, ours in bfloat16", found(fastapi=99.0)) is None


def test_an_engine_in_bfloat16_is_held_to_the_larger_factor_and_float32_to_a_run_of_its_own():
    figures = found(fastapi=13.9)
    name = "CPU of FastAPI, well written, ours in {}"
    assert verdict(name.format("bfloat16"), figures, in_bfloat16=True) is False
    assert verdict(name.format("float32"), figures, in_bfloat16=True) is None
    figures[Key(FLOAT32, MAIN, 32)] = replace(FIGURES, cpu_milliseconds=7.0)
    assert verdict(name.format("float32"), figures, in_bfloat16=True) is True
    assert verdict(name.format("bfloat16"), found(fastapi=14.0), in_bfloat16=True) is True


def test_the_rate_is_held_against_as_many_threads_as_the_floor_had():
    figures = found()
    figures[Key(FLOOR, MAIN, 1)] = replace(FIGURES, per_second=100.0)
    figures[Key(FLOOR, MAIN, 2)] = replace(FIGURES, per_second=445.0)
    name = "rate of decoding and inference alone, {} connections"
    assert verdict(name.format(32), figures) is False  # 89.9%
    assert verdict(name.format(8), figures) is True
    figures[Key(FLOOR, MAIN, 2)] = replace(FIGURES, per_second=444.0)
    assert verdict(name.format(32), figures) is True


@pytest.mark.parametrize(("p50", "met"), [(1.53, False), (1.54, True)])
def test_at_one_connection_the_median_is_held_against_one_thread_of_the_floor(p50, met):
    figures = found()
    figures[Key(FLOOR, MAIN, 1)] = replace(FIGURES, p50=p50)
    name = "p50 at one connection, of decoding plus inference"
    assert verdict(name, figures) is met


def test_the_p99_is_held_against_the_best_peer_but_not_against_one_with_our_engine():
    figures = found()
    figures[Key("litserve-engine", MAIN, 8)] = replace(FIGURES, p99=1.0)
    assert verdict("p99 at 8 connections", figures) is True
    figures[Key("kserve", MAIN, 8)] = replace(FIGURES, p99=8.9)
    assert verdict("p99 at 8 connections", figures) is False


def test_a_peer_that_was_not_measured_has_no_verdict_and_is_named():
    figures = {key: one for key, one in found().items() if key.contender != "kserve"}
    assert verdict("CPU of KServe's Python server, ours in float32", figures) is None
    lost = record()
    lost.troubles.append("kserve is not measured: no such package")
    assert "- kserve is not measured: no such package" in page(plan(), lost)


def plan() -> Plan:
    return Plan(CONTENDERS, SETS[:1], rounds=3, seconds=6.0)


def test_a_row_has_a_contenders_figures_at_each_number_of_connections():
    lines = page(plan(), record(litserve=17.7))
    (row,) = (line for line in lines if line.startswith("| LitServe |"))
    cells = "17.70 / 17.70 / 17.70 | 400 / 400 / 400 | 2.0 / 2.0 / 2.0 | 9.0 / 9.0 / 9.0"
    assert row == f"| LitServe | {cells} |"
    (floor,) = (line for line in lines if line.startswith("| decoding and inference alone"))
    assert floor.startswith("| decoding and inference alone, 1 and 2 threads | 4.00 / 4.00 |")


def test_the_last_line_has_the_answers_the_costs_and_the_targets():
    line = last_line(plan(), record(fastapi=8.9))
    assert line.startswith("bench-server: answers 1200, wrong 0, failed 0; CPU-ms per request")
    assert "ours 4.0, fastapi 8.9, litserve 4.0" in line
    assert line.endswith("targets met 8 of 15, not measured 5")


def test_a_run_without_this_server_or_without_what_it_is_held_to_is_not_whole():
    whole = record()
    assert whole.is_whole
    for missing in ("ours", FLOOR):
        kept = {key: rounds for key, rounds in whole.measured.items() if key.contender != missing}
        assert not replace(whole, measured=kept).is_whole


def test_the_page_and_its_picture_are_written(tmp_path):
    write(plan(), record(fastapi=8.9), tmp_path)
    text = (tmp_path / "server.md").read_text()
    assert "median of\n3 rounds" in text
    assert "litserve 0.2.19" in text
    assert "![CPU for one request, by server](server.svg)" in text
    assert (tmp_path / "server.svg").read_text().count('<g id="text_') > len(CONTENDERS)
