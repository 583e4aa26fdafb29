"""Jobs sleep while nothing is open, and see new work as soon as if they looked for themselves."""

import re
from functools import partial
from typing import Any

import pytest
from django.db import OperationalError

from common.db.sql import rows, run
from common.operational.current import settings_now
from common.process.jobs import Job, pace
from connections.models import ExecutionConnection, KillSwitch, LossLimit, TradingPreset
from execution.job_table import jobs_of_role
from execution.models import TERMINAL, Status
from execution.runtime import open_work
from execution.runtime.open_work import OPEN_WORK, OpenWork, Work, read_open_work
from execution.runtime.stream_lease import drain_once
from execution.runtime.trading_runtime import TradingRuntime
from signals.models import Feed
from tests.execution import factories
from tests.execution.fake_broker import FakeBroker
from tests.until import until

ROLES = [
    ("exits", True),
    ("execution", False),
    ("maintenance", False),
    ("sessions", False),
    ("prices", True),
]


@pytest.fixture
def no_linger(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_work, "LINGER_SECONDS", 0.0)


@pytest.mark.parametrize(("role", "exits_only"), ROLES)
def test_work_is_read_as_often_as_the_quickest_job_that_sleeps_runs(
    role: str, exits_only: bool
) -> None:
    jobs = jobs_of_role(role, exits_only=exits_only)
    sleeping = [job for job in jobs if job.work not in (None, Work.LANES)]
    assert sleeping
    assert all(pace(job) >= open_work.READ_SECONDS for job in sleeping)


@pytest.mark.parametrize(("role", "exits_only"), ROLES)
def test_what_keeps_leases_alarms_and_restores_never_sleeps(role: str, exits_only: bool) -> None:
    awake = {job.name for job in jobs_of_role(role, exits_only=exits_only) if job.work is None}
    expected = {"restore detector", "held prices"}
    if role != "execution":
        expected |= {"scheduler watch", "times in the future"}
    if not exits_only:
        expected.add("waiting alerts")
    assert expected <= awake


JOB = Job("one", 1.0, lambda: None, Work.TRADES)


def test_job_is_postponed_until_there_is_work_of_its_kinds(no_linger: None) -> None:
    changes: list[Work] = []
    work = OpenWork(lambda: changes.append(work.open))
    assert work.postponed(JOB, True) == 0  # what is not known counts as open
    work.update(Work.LIMITS)
    assert work.postponed(JOB, True) == open_work.LONGEST_SLEEP_SECONDS
    assert work.postponed(JOB._replace(work=None), True) == 0
    assert changes == []
    work.update(Work.POSITIONS)
    assert work.postponed(JOB, True) == 0
    assert changes == [Work.POSITIONS]


def test_work_lingers_after_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(open_work, "machine_time", lambda: now[0])
    work = OpenWork()
    for seconds, found in ((0, Work.ORDERS), (open_work.LINGER_SECONDS - 1, Work(0))):
        now[0] += seconds
        work.update(found)
        assert Work.ORDERS in work.open
    now[0] += 2
    work.update(Work(0))
    assert work.open == Work(0)


def test_failed_read_counts_as_open(no_linger: None, monkeypatch: pytest.MonkeyPatch) -> None:
    work = OpenWork()
    work.update(Work(0))

    def fail(*_: Any) -> Any:
        raise OperationalError("gone")

    monkeypatch.setattr(open_work, "periodic_rows", fail)
    with pytest.raises(OperationalError):
        work.read()
    assert work.open == Work.ALL


# ---- a machine that does not keep up ------------------------------------------------------------
YIELDING = Job("one", 1.0, lambda: None, gives_way=True)


@pytest.mark.django_db
def test_job_gives_way_until_due_orders_have_gone(alice: ExecutionConnection, feed: Feed) -> None:
    factories.signal(feed)
    changes: list[bool] = []
    work = OpenWork(lambda: changes.append(True))
    due_since(work, open_work.BEHIND_SECONDS + 1)
    assert work.postponed(YIELDING, True) == open_work.GIVES_WAY_SECONDS
    assert work.postponed(YIELDING, False) == 0  # entries may wait for its first run
    assert work.postponed(YIELDING._replace(gives_way=False), True) == 0
    assert changes == []
    run("UPDATE execution_order SET due_at = NULL, status = 'DENIED'")
    work.read()
    assert work.postponed(YIELDING, True) == 0
    assert changes == [True]  # it is due at once


@pytest.mark.django_db
@pytest.mark.parametrize("due_for", [1, open_work.STUCK_SECONDS + 1], ids=["just due", "stuck"])
def test_job_gives_no_way_to_stuck_orders(
    alice: ExecutionConnection, feed: Feed, due_for: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    factories.signal(feed)
    monkeypatch.setattr(open_work, "BEHIND_SECONDS", 30.0)
    work = OpenWork()
    due_since(work, due_for)
    assert work.postponed(YIELDING, True) == 0


def due_since(work: OpenWork, seconds: float) -> None:
    """Let all orders be due for so long, and the process read it."""
    run(
        "UPDATE execution_order SET due_at = clock_timestamp() - make_interval(secs => %s)",
        (seconds,),
    )
    work.read()


# ---- in a process -------------------------------------------------------------------------------
@pytest.mark.django_db(transaction=True)
def test_jobs_sleep_until_another_process_writes_an_order(
    no_linger: None, alice: ExecutionConnection, feed: Feed, broker: FakeBroker
) -> None:
    runs = {"orders": 0, "positions": 0, "always": 0}

    def count(name: str) -> None:
        runs[name] += 1

    present = TradingRuntime("test")
    present.start()
    present.start_background_jobs(
        [
            Job("orders", 0.05, partial(count, "orders"), Work.ORDERS),
            Job("positions", 0.05, partial(count, "positions"), Work.POSITIONS),
            Job("always", 0.05, partial(count, "always")),
        ]
    )
    try:
        until(lambda: present.open_work.open & ~Work.EVENTS == Work.LANES)
        asleep, awake = dict(runs), runs["always"]
        until(lambda: runs["always"] >= awake + 5)
        assert runs["orders"] <= asleep["orders"] + 1  # it may just have been running
        factories.signal(feed)  # its message is lost
        until(lambda: runs["orders"] >= asleep["orders"] + 3)
        assert runs["positions"] <= asleep["positions"] + 1
    finally:
        present.stop()


def work_but_events() -> Work:
    return read_open_work() & ~Work.EVENTS


# ---- what is open -------------------------------------------------------------------------------
@pytest.mark.django_db
def test_nothing_is_open_in_a_new_installation() -> None:
    # A process without a runtime may call every account, and no stream was ever drained.
    assert read_open_work() == Work.LANES | Work.EVENTS


@pytest.mark.django_db
@pytest.mark.parametrize("status", [*Status])
def test_order_is_work_until_it_has_ended(
    status: Status, alice: ExecutionConnection, feed: Feed
) -> None:
    factories.signal(feed)
    assert Work.ORDERS in read_open_work()
    factories.force(
        "UPDATE execution_order SET status = %s, quantity = 1, client_order_id = 'a'", (status,)
    )
    assert (Work.ORDERS in read_open_work()) is (status not in TERMINAL)


@pytest.mark.django_db
@pytest.mark.parametrize(
    "change",
    [
        "pending_action = 'CLOSE'",
        "lookup_after = now()",
        "route_state = 'HERE', routed_from_id = connection_id",
    ],
)
def test_ended_order_is_work_as_long_as_something_is_due(
    change: str, alice: ExecutionConnection, feed: Feed
) -> None:
    factories.signal(feed)
    factories.force("UPDATE execution_order SET status = 'FAILED'")
    assert work_but_events() == Work.LANES
    factories.force(f"UPDATE execution_order SET {change}")
    assert work_but_events() == Work.LANES | Work.ORDERS


@pytest.mark.django_db
@pytest.mark.parametrize(
    "change",
    [
        "unprotected_since = now()",
        "breached_since = now()",
        "broker_check_due_at = now()",
        "protection_suspended = true, broker_sl = 1",
    ],
)
def test_position_is_work_until_nothing_of_it_is_left_to_be_ended(
    change: str, alice: ExecutionConnection, feed: Feed, runtime: TradingRuntime
) -> None:
    factories.filled(factories.signal(feed))
    assert work_but_events() == Work.LANES | Work.POSITIONS
    closed = "quantity = 0, reserved = 0, closed_at = now(), sl = NULL"
    factories.force(f"UPDATE positions_executionposition SET {closed}")
    assert work_but_events() == Work.LANES
    factories.force(f"UPDATE positions_executionposition SET {change}")
    assert work_but_events() == Work.LANES | Work.POSITIONS


@pytest.mark.django_db
def test_halt_is_work_until_it_is_carried_out() -> None:
    KillSwitch.objects.create(scope="ALL", mode="REDUCING", reason="drill", cancel_entries=True)
    assert Work.ORDERS in read_open_work()
    run("UPDATE connections_killswitch SET carried_out_at = now()")
    assert Work.ORDERS not in read_open_work()


@pytest.mark.django_db
def test_stream_is_work_once_no_process_has_drained_it_for_a_while() -> None:
    drain_once("paper", lambda _: 0, 0)
    assert Work.EVENTS not in read_open_work(60)
    assert Work.EVENTS in read_open_work(0)
    run("UPDATE execution_streamlease SET drained_at = drained_at - interval '61 seconds'")
    assert Work.EVENTS in read_open_work(60)
    drain_once("paper", lambda _: 0, 0)
    drain_once("another", lambda _: 0, 0)
    assert Work.EVENTS not in read_open_work(60)
    run("UPDATE execution_streamlease SET drained_at = NULL WHERE broker_type = 'another'")
    assert Work.EVENTS in read_open_work(60)


def test_events_are_read_in_time_whichever_process_drained_before() -> None:
    """An event that comes just after another process has drained, which then dies."""
    for role, exits_only in ROLES:
        jobs, seconds = jobs_of_role(role, exits_only=exits_only), open_work.READ_SECONDS
        (events,) = (job for job in jobs if job.name == "events")
        if role == "sessions":
            assert events.work == Work.LANES
        else:
            assert events.work == Work.EVENTS | Work.TRADES
        assert pace(events) <= settings_now().execution.poll_seconds
        assert settings_now().execution.poll_seconds - seconds >= seconds


@pytest.mark.django_db
def test_loss_limit_is_work() -> None:
    preset = TradingPreset.objects.create(name="limited", risk_percent=1)
    LossLimit.objects.create(preset=preset, maximum=5)
    assert work_but_events() == Work.LANES | Work.LIMITS


@pytest.mark.django_db
def test_large_tables_are_read_by_partial_indexes() -> None:
    """Else a million ended orders would be read several times a second."""
    run("SET LOCAL enable_seqscan = off")
    plan = [row[0].strip() for row in rows(f"EXPLAIN {OPEN_WORK}", (0.0,))]
    scans = [line for line in plan if "Seq Scan" in line]
    assert not re.search("execution_order|positions_executionposition", "\n".join(scans))
