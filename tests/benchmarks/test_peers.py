"""Peers: what is not installed is named; rows have figures; what a kill leaves is counted."""

import json
import os
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from benchmarks.environment import BenchError
from benchmarks.peers import bench, kills, queues
from benchmarks.peers.queues import QUEUE_PEERS
from benchmarks.peers.runs import Runs
from benchmarks.process_usage import Pids
from benchmarks.results import Result, as_json
from tests.benchmarks.test_bench import SECONDS, folder, launch

__all__ = ["folder"]
SKIPPED = {"skipped": "not installed: run `make peers`"}
ROW_OF_A_QUEUE = {"n", "seconds", "orders_s", "cpu_us_an_order"}


def measured(count: int, *seconds: float) -> Runs:
    """What was measured of a side that used no CPU but this process's."""
    pids: Pids = {"workers": [os.getpid()]}
    runs = Runs(count, lambda: pids, list(seconds))
    with runs.meter.over(count):
        sum(number * number for number in range(1_000_000))
    return runs


def result(**rows: dict[str, Any]) -> Result:
    ours = measured(1_000, 0.5)
    every = {peer.name: SKIPPED for peer in QUEUE_PEERS} | {"fillcast": ours.row()} | rows
    return bench._result(1_000, ours, every)


def test_missing_packages_are_named(tmp_path: Path) -> None:
    with pytest.raises(queues.SkippedError, match="make peers"):
        queues.python_of_peers(tmp_path / "peers")
    (tmp_path / "peers.failed").write_text("ERROR: No matching distribution\n")
    with pytest.raises(queues.SkippedError, match=r"^not installed: ERROR: No matching"):
        queues.python_of_peers(tmp_path / "peers")


def test_package_that_cannot_be_imported_is_named() -> None:
    with pytest.raises(queues.SkippedError, match="cannot be imported: ModuleNotFoundError"):
        queues.expect_package(queues.OWN_PYTHON, "no_such_peer")
    queues.expect_package(queues.OWN_PYTHON, "celery")


def test_ratio_is_by_the_fastest_queue_that_was_measured() -> None:
    slow, fast = measured(200, 8.0, 10.0, 9.0).row(), measured(200, 4.0).row()
    compared = result(celery=slow, procrastinate=fast)
    assert compared.baseline is not None
    assert compared.baseline.name.endswith(": procrastinate")
    assert compared.ratio == 40  # 2,000 orders a second against 50
    rows = json.loads(as_json({}, [compared]))["benches"][0]["detail"]["peers"]
    assert rows["dramatiq"] == SKIPPED
    assert (rows["celery"]["seconds"], rows["celery"]["n"]) == (9.0, 200)


def test_no_queue_at_all_is_an_error() -> None:
    with pytest.raises(BenchError, match="no queue could be measured"):
        result()


class Books:
    """Runs the statement of `kills` on the tests' database."""

    def sql(self, text: str, given: dict[str, Any]) -> list[tuple[Any, ...]]:
        from django.db import connection

        with connection.cursor() as cursor:
            cursor.execute(text, given)
            return list(cursor.fetchall())


@pytest.mark.django_db
def test_fills_of_an_account_are_counted_in_the_brokers_books() -> None:
    once, twice, never = (uuid4() for _ in range(3))
    for ticket, account in ((11, once), (12, twice), (13, twice), (5, never)):  # 5: before the kill
        _booked(ticket, account)
    _booked(14, never, status="REJECTED")
    books: Any = Books()
    assert kills._left(books, 10, 0, [once, twice, never]) == {
        "filled_once": 1, "filled_twice": 1, "not_filled": 1,
        "fill_not_recorded": 2,  # none of our orders exists
        "states": "no order",
    }  # fmt: skip


def _booked(ticket: int, connection_id: object, status: str = "FILLED") -> None:
    from decimal import Decimal

    from brokers.paper.models import PaperAccount, PaperOrder
    from common.clocks import market_now

    account, _ = PaperAccount.objects.get_or_create(number="1")
    PaperOrder.objects.create(
        id=ticket, account=account, connection_id=str(connection_id), symbol="EURUSD", side="BUY",
        order_type="MARKET", time_in_force="GTC", quantity=Decimal(1), status=status,
        time=market_now(),
    )  # fmt: skip


@pytest.mark.exhaustive
@pytest.mark.timeout(900)
def test_every_peer_has_a_row_with_figures_or_a_reason(folder: Path) -> None:
    running = launch(folder, "--only", "peers", "-n", "2", "--rounds", "1")
    out, progress = running.communicate(timeout=SECONDS * 10)
    assert running.returncode == 0, progress
    (measured,) = json.loads(out.splitlines()[-1])["benches"]
    rows = measured["detail"]["peers"]
    assert list(rows) == ["fillcast", "celery", "dramatiq", "procrastinate"]
    assert rows["celery"].keys() >= ROW_OF_A_QUEUE
    for name in ("dramatiq", "procrastinate"):
        assert rows[name].keys() >= ROW_OF_A_QUEUE or rows[name]["skipped"]
