"""What the load and its curves conclude from their figures."""

import json
import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from benchmarks import curves, flame_graph, load_figures, load_samples
from benchmarks.curve_workers import limit_of
from benchmarks.environment import BenchEnvironment
from benchmarks.trends import trend

TIMES = [10.0 * number for number in range(150)]


def test_line_has_its_slope_an_hour_and_no_error() -> None:
    found = trend(TIMES, [500 + at / 360 for at in TIMES])
    assert found.an_hour == pytest.approx(10)
    assert found.at_least == pytest.approx(10)
    assert found.share_at_least() == pytest.approx(10 / found.mean)


def test_noise_proves_no_growth_and_a_leak_in_it_is_proven() -> None:
    noise = random.Random(1)
    flat = [500 + noise.uniform(-5, 5) for _ in TIMES]
    assert trend(TIMES, flat).share_at_least() < load_figures.MEMORY_SHARE_AN_HOUR
    leak = [value + 40 * at / 3600 for value, at in zip(flat, TIMES, strict=True)]
    assert trend(TIMES, leak).share_at_least() > load_figures.MEMORY_SHARE_AN_HOUR
    assert trend(TIMES[:2], leak[:2]).at_least == 0


def test_short_run_proves_nothing() -> None:
    """What it may be off is more than the bar, so it is not met, however flat the line is."""
    noise = random.Random(1)
    flat = [500 + noise.uniform(-5, 5) for _ in TIMES]
    assert trend(TIMES, flat).uncertainty / 500 < load_figures.MEMORY_SHARE_AN_HOUR
    assert trend(TIMES[:12], flat[:12]).uncertainty / 500 > load_figures.MEMORY_SHARE_AN_HOUR


def sample(at: float, **changes: Any) -> dict[str, Any]:
    """A sample in which everything is well; 2,500 orders have ended since the one before."""
    tables = {"execution_order": {
        "live": 90_000, "dead": 10_000, "autovacuums": 3, "table_mb": at / 10, "index_mb": at / 20,
        "updates": 1, "hot": 1, "autoanalyzes": 1,
    }}  # fmt: skip
    usual: dict[str, Any] = {
        "at": at, "mb": {"postgres": 300.0, "web": 100.0}, "due_s": 0.1, "wal_mb": 2 * at,
        "cpu_s": {"postgres": 0.1 * at, "web": 0.05 * at}, "tables": tables,
        "pages": {"count": 50, "p50_ms": 30.0, "p99_ms": 90.0, "failed": 0},
        "orders": {"signals": 50, "all": {"count": 2_500, "p50_ms": 90.0, "p99_ms": 200.0}},
    }  # fmt: skip
    return {**usual, **changes}


def test_first_minutes_are_left_out_unless_too_few_samples_remain() -> None:
    samples = [sample(at) for at in TIMES[1:]]
    settled = load_figures.settled(samples)
    assert settled[0]["at"] == pytest.approx(500)  # a third of 25 minutes
    assert load_figures.settled(samples[:2]) == samples[:2]


def test_cost_of_an_order_is_what_was_used_between_two_samples() -> None:
    cost = load_figures.cost_of_an_order([sample(100), sample(110)])
    assert cost["orders"] == 2_500
    assert cost["cpu_us"]["postgres"] == pytest.approx(400)
    assert cost["cpu_us_in_all"] == pytest.approx(600)
    assert cost["wal_bytes"] == pytest.approx(8_000)
    assert cost["table_bytes"] == pytest.approx(400)


def test_bars_notice_growing_lag_slow_pages_and_dead_rows() -> None:
    def missed(samples: list[dict[str, Any]], pages: list[float]) -> set[str]:
        found = load_figures._bars(load_figures.trends_of(samples), pages, samples)
        return {name for name, (value, bar) in found.items() if value > bar}

    assert missed([sample(at) for at in TIMES], [90.0] * 100) == set()
    lagging = [sample(at, due_s=at / 100) for at in TIMES]
    assert missed(lagging, [90.0] * 98 + [400.0] * 2) == {"lag_seconds_an_hour", "pages_p99_ms"}
    dead = [sample(at) for at in TIMES]
    for one in dead:
        one["tables"]["execution_order"]["dead"] = 50_000
    assert missed(dead, [90.0]) == {"dead_share"}


def test_samples_of_a_killed_run_are_read(tmp_path: Path) -> None:
    path = tmp_path / "load.jsonl"
    path.write_text(f'{json.dumps(sample(10))}\n{json.dumps(sample(20))}\n{{"at": 3')
    assert [one["at"] for one in load_samples.read(path)] == [10, 20]


def test_measured_points_are_kept_and_only_missing_ones_are_measured(tmp_path: Path) -> None:
    stack = SimpleNamespace(stack=SimpleNamespace(folder=tmp_path / "stack"))
    environment = cast(BenchEnvironment, stack)
    asked: list[int] = []

    def measure(size: int) -> dict[str, Any]:
        asked.append(size)
        if size == 1_000:
            raise KeyboardInterrupt
        return {"us_an_order": size}

    with pytest.raises(KeyboardInterrupt):
        curves.Points(environment, "orders").measured([10, 100, 1_000], measure)
    found = curves.Points(environment, "orders").measured([10, 100], measure)
    assert asked == [10, 100, 1_000]
    assert [found[size]["us_an_order"] for size in (10, 100)] == [10, 100]
    assert curves.Points(environment, "workers").all() == {}
    assert curves.sizes_up_to(1_000, curves.ORDERS) == [1_000]


def test_limit_is_the_resource_that_is_used_up() -> None:
    idle = {"idle": 1.0, "entries": 0.5, "busiest_worker": 0.5, "busiest_session": 0.3,
            "postgres": 0.4, "publisher": 0.1}  # fmt: skip
    assert limit_of(idle, 2).startswith("waiting")
    assert limit_of({**idle, "busiest_worker": 0.9}, 2) == "the interpreter of a worker for entries"
    assert limit_of({**idle, "publisher": 0.9}, 2) == "the publisher"
    full = limit_of({**idle, "idle": 0.1, "postgres": 1.1, "entries": 0.6}, 2)
    assert full == "all 2 cores: PostgreSQL 1.10, entries 0.60, the publisher 0.10"


def test_flame_graph_has_wide_frames_and_the_same_bytes_for_the_same_stacks(tmp_path: Path) -> None:
    path = tmp_path / "stacks.folded"
    path.write_text(
        "run (celery/app/trace.py:5);claim (execution/submission/claim.py:10) 60\n"
        "run (celery/app/trace.py:9);claim (execution/submission/claim.py:12);"
        "size (execution/submission/sizing.py:3) 39\n"
        "run (celery/app/trace.py:5);rare (common/sql.py:1) 1\n"
    )
    stacks = flame_graph.read(path)
    assert flame_graph.shares(stacks, ["submission", "celery"]) == {
        "submission": 0.99,
        "celery": 0.01,
    }
    picture = flame_graph.draw(stacks, "a & b")
    assert "claim.claim" in picture
    assert "execution/submission/sizing.py size: 39.0%" in picture
    assert "a &amp; b" in picture
    assert "rare" not in picture
    assert picture == flame_graph.draw(stacks, "a & b")
