"""How medians are judged and told."""

import json

from benchmarks.results import as_json, compared, percentile


def test_a_percentile_is_a_value_that_was_seen() -> None:
    values = [float(number) for number in range(1, 101)]
    assert percentile(values, 50) == 50
    assert percentile(values, 99) == 99
    assert percentile([7.0], 99) == 7


def test_rates_are_compared_by_their_medians() -> None:
    result = compared(
        "one",
        n=1_000,
        seconds=[0.1, 9.0, 0.2],
        baseline="slow",
        baseline_n=100,
        baseline_seconds=[0.4, 0.4, 50.0],
        target=20,
    )
    assert result.seconds == 0.2
    assert result.ratio == 20  # 5,000 a second against 250
    assert (result.ok, result.half) == (True, True)


def test_half_the_target_is_a_bar_of_its_own() -> None:
    def judged(seconds: float) -> tuple[bool, bool]:
        result = compared(
            "one", n=1, seconds=[seconds], baseline="slow", baseline_n=1, baseline_seconds=[10.0],
            target=10,
        )  # fmt: skip
        return result.ok, result.half

    assert judged(1.0) == (True, True)
    assert judged(1.5) == (False, True)
    assert judged(2.5) == (False, False)


def test_the_last_line_is_one_json_object_with_every_name() -> None:
    result = compared(
        "one", n=3, seconds=[1 / 3], baseline="slow", baseline_n=1, baseline_seconds=[1.0], target=2
    )
    told = as_json({"cores": 2}, [result])
    assert "\n" not in told
    (bench,) = json.loads(told)["benches"]
    wanted = "name n seconds rate p50_ms p99_ms baseline ratio target ok half"
    assert set(wanted.split()) <= bench.keys()
    assert bench["baseline"].keys() == {"name", "seconds", "rate"}
    assert bench["seconds"] == 0.3333
