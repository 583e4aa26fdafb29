"""How medians are compared, and the format of the output."""

import json

from benchmarks.results import (
    Result,
    as_json,
    as_table,
    bounded,
    compared,
    percentile,
)


def test_percentile_is_a_measured_value() -> None:
    values = [float(number) for number in range(1, 101)]
    assert percentile(values, 50) == 50
    assert percentile(values, 99) == 99
    assert percentile([7.0], 99) == 7


def test_rates_are_compared_by_medians() -> None:
    result = compared(
        "one",
        count=1_000,
        seconds=[0.1, 9.0, 0.2],
        baseline="slow",
        baseline_count=100,
        baseline_seconds=[0.4, 0.4, 50.0],
        target=20,
    )
    assert result.seconds == 0.2
    assert result.ratio == 20  # 5,000 a second against 250
    assert result.ok


def test_figure_must_not_exceed_its_target() -> None:
    assert bounded("one", 4, 0.9, target=1.0).ok
    assert not bounded("one", 4, 1.1, target=1.0).ok
    assert not bounded("one", 4, 0.9, target=1.0, also=False).ok
    result = bounded("one", 4, 0.9, target=1.0, seconds=2.0, times_ms=[1.0, 3.0], unit="MB")
    assert (result.rate, result.p99_ms, result.detail) == (2.0, 3.0, {"unit": "MB"})


def test_output_is_one_json_line_with_all_keys() -> None:
    result = compared(
        "one",
        count=3,
        seconds=[1 / 3],
        baseline="slow",
        baseline_count=1,
        baseline_seconds=[1.0],
        target=2,
    )
    line = as_json({"cores": 2}, [result])
    assert "\n" not in line
    (bench,) = json.loads(line)["benches"]
    keys = "name n seconds rate p50_ms p99_ms baseline ratio target ok"
    assert set(keys.split()) <= bench.keys()
    assert bench["baseline"].keys() == {"name", "seconds", "rate"}
    assert bench["seconds"] == 0.3333


def result_of(name: str) -> Result:
    return compared(
        name, count=4, seconds=[0.5], baseline="slow", baseline_count=1, baseline_seconds=[0.5],
        target=2,
    )  # fmt: skip


def test_table_states_each_result_and_its_bar() -> None:
    head, _, row = as_table([result_of("one")]).splitlines()
    assert row == "| `one` | 4 | 0.5 | 500, 500 | 4 | ≥ 2 | slow | met |"
    assert row.count("|") == head.count("|")
