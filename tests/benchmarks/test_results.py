"""How medians are compared, and the format of the output."""

import json

from benchmarks.results import as_json, compared, percentile


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
    assert (result.ok, result.half) == (True, True)


def test_half_of_the_target_is_reported_separately() -> None:
    def outcome(seconds: float) -> tuple[bool, bool]:
        result = compared(
            "one", count=1, seconds=[seconds],
            baseline="slow", baseline_count=1, baseline_seconds=[10.0], target=10,
        )  # fmt: skip
        return result.ok, result.half

    assert outcome(1.0) == (True, True)
    assert outcome(1.5) == (False, True)
    assert outcome(2.5) == (False, False)


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
    keys = "name n seconds rate p50_ms p99_ms baseline ratio target ok half"
    assert set(keys.split()) <= bench.keys()
    assert bench["baseline"].keys() == {"name", "seconds", "rate"}
    assert bench["seconds"] == 0.3333
