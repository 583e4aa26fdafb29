"""What the load and its curves conclude from their figures."""

import json
import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from benchmarks import curves, load_samples
from benchmarks.environment import BenchEnvironment
from benchmarks.load_samples import trend

TIMES = [10.0 * number for number in range(150)]
MOST = load_samples.MEMORY_SHARE_AN_HOUR


def test_line_has_its_slope_an_hour_and_no_error() -> None:
    found = trend(TIMES, [500 + at / 360 for at in TIMES])
    assert found.an_hour == pytest.approx(10)
    assert found.at_least == pytest.approx(10)


def test_noise_proves_no_growth_and_a_leak_in_it_is_proven() -> None:
    noise = random.Random(1)
    flat = [500 + noise.uniform(-5, 5) for _ in TIMES]
    assert trend(TIMES, flat).at_least / 500 < MOST
    leak = [value + 40 * at / 3600 for value, at in zip(flat, TIMES, strict=True)]
    assert trend(TIMES, leak).at_least / 500 > MOST
    assert trend(TIMES[:2], leak[:2]).at_least == 0


def test_short_run_proves_nothing() -> None:
    """What it may be off is more than the bar, so it is not met, however flat the line is."""
    noise = random.Random(1)
    flat = [500 + noise.uniform(-5, 5) for _ in TIMES]
    assert trend(TIMES, flat).uncertainty / 500 < MOST
    assert trend(TIMES[:12], flat[:12]).uncertainty / 500 > MOST


def sample(at: float, **changes: Any) -> dict[str, Any]:
    """A sample in which everything is well; 2,500 orders have ended since the one before."""
    usual: dict[str, Any] = {
        "at": at, "mb": {"postgres": 300.0, "web": 100.0}, "due_s": 0.1,
        "pages": {"count": 50, "p50_ms": 30.0, "p99_ms": 90.0},
        "orders": {"signals": 50, "count": 2_500, "p50_ms": 90.0, "p99_ms": 200.0},
    }  # fmt: skip
    return {**usual, **changes}


def test_first_minutes_are_left_out_unless_too_few_samples_remain() -> None:
    samples = [sample(at) for at in TIMES[1:]]
    settled = load_samples.settled(samples)
    assert settled[0]["at"] == pytest.approx(500)  # a third of 25 minutes
    assert load_samples.settled(samples[:2]) == samples[:2]


def test_bars_notice_growing_memory_and_slow_pages() -> None:
    def missed(samples: list[dict[str, Any]], pages: list[float]) -> set[str]:
        found = load_samples.bars_of(samples, pages)
        return {name for name, (value, bar) in found.items() if value > bar}

    assert missed([sample(at) for at in TIMES], [90.0] * 100) == set()
    assert missed([sample(at) for at in TIMES], [90.0] * 98 + [400.0] * 2) == {"pages_p99_ms"}
    growing = [sample(at, mb={"postgres": 300 + at / 10}) for at in TIMES]
    assert missed(growing, [90.0]) == {"memory_share_an_hour"}


@pytest.fixture
def environment(tmp_path: Path) -> BenchEnvironment:
    stack = SimpleNamespace(stack=SimpleNamespace(folder=tmp_path / "stack"))
    return cast(BenchEnvironment, stack)


def point(us: float) -> dict[str, Any]:
    return {"seconds": us / 1000, "us_an_order": us}


def test_curve_keeps_its_points_and_those_of_other_curves(
    environment: BenchEnvironment, tmp_path: Path
) -> None:
    def measure(size: int) -> dict[str, Any]:
        if size == 1_000:
            raise KeyboardInterrupt
        return point(size)

    curves.curve(environment, "workers", (1, 2), 8, point)
    with pytest.raises(KeyboardInterrupt):
        curves.curve(environment, "orders", (10, 100, 1_000), 1_000, measure)
    stored = json.loads((tmp_path / "curves.json").read_text())
    assert [*stored["orders"]] == ["10", "100"]
    assert stored["workers"]["2"]["us_an_order"] == 2


@pytest.mark.parametrize(
    ("most", "against", "ratio"), [(4, None, 3), (4, 2, 1.5), (2, 2, 1), (0, None, 1)]
)
def test_curve_compares_the_largest_sizes(
    environment: BenchEnvironment, most: int, against: int | None, ratio: float
) -> None:
    took = {0: 1.0, 1: 100.0, 2: 200.0, 3: 300.0, 4: 240.0}
    if against is None:
        took[4] = 300.0
    found = curves.curve(
        environment, "orders", (1, 2, 3, 4), most, lambda size: point(took[size]), against=against
    )
    assert found.ratio == pytest.approx(ratio)
    assert found.n == most
