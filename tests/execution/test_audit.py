"""The audit: silent when all is well, and each counter can speak."""

import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from brokers.journal import Journal
from brokers.messages import CloseCause
from common.clocks import market_now
from common.sql import run
from connections.models import ExecutionConnection, SubscriptionInterval
from execution import tasks
from execution.audit import sql as audit_sql
from execution.audit.counters import GRACE_SECONDS, audit, audit_and_alarm, recent
from execution.audit.words import COUNTERS
from execution.management.commands import audit as audit_command
from execution.models import AuditRun, DriftItem, Order
from execution.services import close_position, retry_order
from positions.models import ExecutionPosition
from signals.models import Feed, Signal
from tests.connections import make
from tests.execution import cast
from tests.execution.double import Double, Ticket

pytestmark = pytest.mark.django_db
ZERO = dict.fromkeys(
    ("MISSING", "EXTRA", "LOST", "DUP", "ORPHAN", "GHOST", "LIMBO", "LATE", "MISMATCH",
     "REVERSED", "RISEN", "NAKED"), 0
)  # fmt: skip


@pytest.fixture
def bob(feed: Feed, broker: Double) -> ExecutionConnection:
    """Paused: a candidate that is skipped."""
    return cast.account(feed, is_paused=True)


@pytest.fixture
def admins(feed: Feed, broker: Double) -> ExecutionConnection:
    """An administrator's own account: takes every signal without a subscription."""
    return cast.account(user=None, admin=make.user())


@pytest.fixture
def signal(
    alice: ExecutionConnection, bob: ExecutionConnection, admins: ExecutionConnection, feed: Feed
) -> Signal:
    """Filled on alice's and the admin's account, skipped on bob's."""
    published = cast.signal(feed)
    cast.fill_all()
    return published


def wrong(signal_id: int | None = None) -> dict[str, int]:
    """The counters that are not 0."""
    return {name: n for name, n in audit(signal_id).counters.items() if n}


def entry(of: ExecutionConnection) -> Order:
    return Order.objects.get(connection=of, leg="entry")


def test_all_is_well(signal: Signal) -> None:
    report = audit()
    assert (report.ok, report.signals, report.candidates) == (True, 1, 3)
    assert report.counters == ZERO
    assert {name: n for name, n in report.states.items() if n} == {"filled": 2, "skipped": 1}


def test_an_empty_installation_is_well() -> None:
    report = audit()
    assert (report.ok, report.signals, report.candidates) == (True, 0, 0)


def test_missing(signal: Signal, bob: ExecutionConnection) -> None:
    entry(bob).delete()
    assert wrong() == {"MISSING": 1}
    assert audit().examples == {"MISSING": [f"signal {signal.pk}, connection {bob.pk}"]}


def test_extra(signal: Signal, bob: ExecutionConnection) -> None:
    SubscriptionInterval.objects.filter(subscription__connection=bob).delete()
    assert wrong() == {"EXTRA": 1}


def test_an_interval_holds_from_its_start_and_not_at_its_end(
    signal: Signal, bob: ExecutionConnection
) -> None:
    intervals = SubscriptionInterval.objects.filter(subscription__connection=bob)
    assert signal.published_at is not None
    intervals.update(started_at=signal.published_at, ended_at=None)
    assert wrong() == {}
    intervals.update(started_at=signal.published_at + timedelta(microseconds=1))
    assert wrong() == {"EXTRA": 1}
    an_hour_before = signal.published_at - timedelta(hours=1)
    intervals.update(started_at=an_hour_before, ended_at=signal.published_at)
    assert wrong() == {"EXTRA": 1}


def test_who_came_or_went_after_the_publication_changes_nothing(
    signal: Signal, bob: ExecutionConnection, feed: Feed
) -> None:
    SubscriptionInterval.objects.filter(subscription__connection=bob).update(ended_at=market_now())
    newcomer = cast.account()
    subscription = make.subscription(newcomer, feed)
    subscription.intervals.update(started_at=market_now())
    cast.account(user=None, admin=make.user(), created_at=market_now())
    assert wrong() == {}


def test_an_admins_account_that_was_archived_before_is_no_candidate(
    signal: Signal, admins: ExecutionConnection
) -> None:
    ExecutionConnection.objects.filter(pk=admins.pk).update(archived_at=signal.published_at)
    assert wrong() == {"EXTRA": 1}


@pytest.mark.parametrize(
    "row",
    [
        "status = 'PENDING', due_at = clock_timestamp() - interval '61 s', done_at = NULL",
        "status = 'PENDING', due_at = NULL, done_at = NULL",
        "status = 'SUBMITTING', answer_by = clock_timestamp() - interval '61 s'",
        "status = 'UNKNOWN', lookup_after = NULL",
        "status = 'UNKNOWN', lookup_after = clock_timestamp() - interval '61 s'",
        "status = 'NOWHERE'",
        "wish = 'CLOSE', due_at = NULL",
    ],
)
def test_lost(row: str, signal: Signal, alice: ExecutionConnection) -> None:
    run(f"UPDATE execution_order SET {row} WHERE id = {entry(alice).pk}")
    assert wrong() == {"LOST": 1}


def test_dup(signal: Signal, broker: Double) -> None:
    broker.receive(broker.tickets[0].request)
    assert wrong() == {"DUP": 1}


def test_dup_under_another_attempts_digit(signal: Signal, broker: Double) -> None:
    request = broker.tickets[0].request
    broker.receive(replace(request, client_order_id=request.client_order_id[:-1] + "1"))
    assert wrong() == {"DUP": 1}


def test_orphan(signal: Signal, broker: Double) -> None:
    request = broker.tickets[0].request
    broker.receive(replace(request, client_order_id="devx00000000000000"))
    assert wrong() == {"ORPHAN": 1}
    assert wrong(signal.pk) == {}


def held_by_nobody(broker: Double, client_order_id: str) -> Ticket:
    """A position at the broker of which we have no row."""
    ticket = broker.receive(replace(broker.tickets[0].request, client_order_id=client_order_id))
    broker.execute(ticket)
    return ticket


def test_orphan_position(signal: Signal, broker: Double, monkeypatch: pytest.MonkeyPatch) -> None:
    """The broker keeps the position and not the order (any more)."""
    lost = held_by_nobody(broker, "devx0000000000000")
    held_by_nobody(broker, "byhand")  # its owner's own
    monkeypatch.setattr(broker, "journal", without_orders(broker))
    assert wrong() == {"ORPHAN": 1}
    assert audit().examples["ORPHAN"] == [
        f"position {lost.number} on connection {lost.request.connection_id}"
    ]
    assert wrong(signal.pk) == {}


def test_a_position_that_we_call_closed_is_an_orphan_once_nothing_moves(
    signal: Signal, broker: Double, alice: ExecutionConnection
) -> None:
    positions = ExecutionPosition.objects.filter(connection=alice)
    run("UPDATE execution_fill SET quantity = 0.01")  # another counter; only ORPHAN is of interest
    positions.update(quantity=0)
    Order.objects.filter(connection=alice).update(done_at=None)
    positions.update(touched_at=market_now() - timedelta(minutes=1))
    assert "ORPHAN" not in wrong()  # its entry is under way
    an_hour_ago = market_now() - timedelta(hours=1)
    Order.objects.filter(connection=alice).update(done_at=an_hour_ago)
    assert wrong()["ORPHAN"] == 1
    positions.update(touched_at=market_now() + timedelta(minutes=1))
    assert "ORPHAN" not in wrong()  # it has just moved


def without_orders(broker: Double) -> Callable[[str], Awaitable[Journal]]:
    async def journal(tag: str) -> Journal:
        return replace(await Double.journal(broker, tag), accepted=())

    return journal


@pytest.mark.parametrize("kind", ["UNKNOWN_ORDER", "FORGOTTEN_ORDER"])
def test_an_orphan_that_somebody_has_decided_is_none(
    kind: str, signal: Signal, broker: Double, alice: ExecutionConnection
) -> None:
    request = replace(broker.tickets[0].request, client_order_id="devx00000000000000")
    broker.receive(request)
    item = DriftItem.objects.create(
        kind=kind, connection_id=request.connection_id, key=request.client_order_id
    )
    assert wrong() == {"ORPHAN": 1}  # told, and nobody has decided
    DriftItem.objects.filter(pk=item.pk).update(state="IGNORED", decision="IGNORE")
    assert wrong() == {}


def test_ghost(signal: Signal, broker: Double) -> None:
    broker.exit_by_itself(broker.tickets[0], CloseCause.EXTERNAL, broker.tickets[0].held)
    assert wrong() == {"GHOST": 1}


def test_a_position_that_is_being_closed_or_has_just_moved_is_no_ghost(
    signal: Signal, broker: Double, alice: ExecutionConnection
) -> None:
    (lot,) = (t for t in broker.tickets if t.request.connection_id == str(alice.pk))
    broker.exit_by_itself(lot, CloseCause.EXTERNAL, lot.held)
    positions = ExecutionPosition.objects.filter(connection=alice)
    close_position(positions.get().pk)
    cast.claim_all()
    assert wrong() == {}
    Order.objects.exits().delete()
    assert wrong() == {"GHOST": 1}
    positions.update(touched_at=market_now() + timedelta(minutes=1))
    assert wrong() == {}


def test_limbo(signal: Signal, alice: ExecutionConnection, settings) -> None:  # type: ignore[no-untyped-def]
    late = settings.FILLCAST_PROOF_GAP_SECONDS + GRACE_SECONDS
    for seconds, counters in ((late - 2, {}), (late + 1, {"LIMBO": 1})):
        run(
            "UPDATE execution_order SET status = 'UNKNOWN', lookup_after = clock_timestamp(),"
            f" answer_by = clock_timestamp() - interval '{seconds} s' WHERE id = {entry(alice).pk}"
        )
        assert wrong() == counters


def test_late(signal: Signal, alice: ExecutionConnection) -> None:
    Signal.objects.update(valid_until=market_now() + timedelta(hours=1))
    assert wrong() == {}
    run(
        "UPDATE execution_order SET submitted_at = submitted_at + interval '2 hours'"
        f" WHERE id = {entry(alice).pk}"
    )
    assert wrong() == {"LATE": 1}


@pytest.mark.parametrize(
    "row",
    [
        "positions_executionposition SET quantity = 90",
        "positions_executionposition SET opened_quantity = 110",
        "execution_order SET filled_quantity = 90 WHERE status = 'FILLED'",
        "execution_fill SET quantity = 90",
    ],
)
def test_mismatch(row: str, signal: Signal) -> None:
    run(f"UPDATE {row}")
    assert set(wrong()) == {"MISMATCH"}


def test_reversed_by_our_own_fills(signal: Signal, alice: ExecutionConnection) -> None:
    position = ExecutionPosition.objects.get(connection=alice)
    run(
        "UPDATE execution_order SET position_id = %s, leg = 'close-1' WHERE id = %s",
        (position.pk, entry(alice).pk),
    )
    assert wrong()["REVERSED"] == 1


def test_reversed_at_the_broker(signal: Signal, broker: Double) -> None:
    lot = broker.tickets[0]
    lot.request = replace(lot.request, side=lot.request.side.opposite)
    assert wrong() == {"REVERSED": 1}


def test_risen(alice: ExecutionConnection, feed: Feed, broker: Double) -> None:
    cast.signal(feed)
    (outgoing,) = cast.claim_all()
    never_arrived(outgoing.request.order_id)
    assert wrong() == {}
    broker.receive(outgoing.request)
    assert wrong() == {"RISEN": 1}


def test_risen_though_it_was_retried_since(
    alice: ExecutionConnection, feed: Feed, broker: Double
) -> None:
    cast.signal(feed)
    (outgoing,) = cast.claim_all()
    never_arrived(outgoing.request.order_id)
    retry_order(outgoing.request.order_id)
    cast.fill_all()
    assert wrong() == {}  # the retry's own acceptance is as it should be
    broker.receive(outgoing.request)
    assert wrong() == {"RISEN": 1, "DUP": 1}


def never_arrived(order_id: int) -> None:
    run(
        "UPDATE execution_order SET status = 'FAILED', reason = 'NEVER_ARRIVED',"
        " done_at = clock_timestamp() WHERE id = %s",
        (order_id,),
    )
    run(
        "INSERT INTO execution_executionlog (order_id, code, status)"
        " VALUES (%s, 'NEVER_ARRIVED', 'FAILED')",
        (order_id,),
    )


def test_naked(signal: Signal, alice: ExecutionConnection) -> None:
    positions = ExecutionPosition.objects.filter(connection=alice)
    positions.update(sl_guardian="")
    assert wrong() == {}
    cast.pass_time(6)
    assert wrong() == {"NAKED": 1}
    positions.update(sl_guardian="BROKER")
    assert wrong() == {"NAKED": 1}
    positions.update(sl_guardian="BROKER", broker_sl=1)
    assert wrong() == {}


class TestWhateverTheSignalsAge:
    """The hourly audit looks at a day's signals, and at all that is live."""

    @pytest.fixture(autouse=True)
    def old(self, signal: Signal) -> None:
        Signal.objects.update(published_at=market_now() - timedelta(days=3))

    def found(self) -> dict[str, int]:
        report = recent()
        assert report.signals == 0
        return {name: n for name, n in report.counters.items() if n}

    def test_all_is_well(self) -> None:
        assert self.found() == {}

    @pytest.mark.parametrize(
        ("row", "counter"),
        [
            ("status = 'PENDING', due_at = NULL, done_at = NULL", "LOST"),
            ("status = 'SUBMITTING', answer_by = clock_timestamp() - interval '61 s'", "LOST"),
            ("status = 'UNKNOWN', lookup_after = NULL", "LOST"),
            ("wish = 'CLOSE', due_at = NULL", "LOST"),
            (
                "status = 'UNKNOWN', lookup_after = clock_timestamp(),"
                " answer_by = clock_timestamp() - interval '1 hour'",
                "LIMBO",
            ),
        ],
    )
    def test_orders(self, row: str, counter: str, alice: ExecutionConnection) -> None:
        run(f"UPDATE execution_order SET {row} WHERE id = {entry(alice).pk}")
        assert self.found() == {counter: 1}

    def test_positions(self, alice: ExecutionConnection, broker: Double) -> None:
        ExecutionPosition.objects.filter(connection=alice).update(sl_guardian="")
        cast.pass_time(6)
        assert self.found() == {"NAKED": 1}
        (lot,) = (t for t in broker.tickets if t.request.connection_id == str(alice.pk))
        lot.held = lot.request.quantity * 0
        assert self.found() == {"NAKED": 1, "GHOST": 1}

    def test_one_signal_is_looked_at_alone(self, feed: Feed, alice: ExecutionConnection) -> None:
        run(f"UPDATE execution_order SET status = 'UNKNOWN' WHERE id = {entry(alice).pk}")
        ExecutionPosition.objects.update(sl_guardian="")
        cast.pass_time(6)
        other = cast.signal(feed)
        cast.fill_all()
        assert wrong(other.pk) == {}


def test_books_that_cannot_be_read_prove_nothing(signal: Signal, broker: Double) -> None:
    broker.reads_fail = True
    report = audit()
    assert (report.unread, report.is_clean, report.ok) == (["double"], True, False)
    out = StringIO()
    with pytest.raises(SystemExit) as ended:
        call_command("audit", "--json", stdout=out)
    assert ended.value.code == 3
    assert json.loads(out.getvalue())["ok"] is False
    ExecutionConnection.objects.update(archived_at=market_now())
    assert audit().unread == []  # nobody trades there any more


def test_one_signal_is_audited_alone(signal: Signal, bob: ExecutionConnection, feed: Feed) -> None:
    entry(bob).delete()
    other = cast.signal(feed)
    cast.fill_all()
    assert wrong(other.pk) == {}
    assert wrong(signal.pk) == {"MISSING": 1}
    assert audit(other.pk).candidates == 3


def test_the_last_line_is_json(signal: Signal) -> None:
    out = StringIO()
    call_command("audit", "--json", stdout=out)
    told = json.loads(out.getvalue().splitlines()[-1])
    assert (told["ok"], told["signals"], told["candidates"]) == (True, 1, 3)
    assert told["counters"] == ZERO
    assert sum(told["states"].values()) == 3


def test_the_exit_code_is_1_when_a_counter_is_not_0(
    signal: Signal, bob: ExecutionConnection
) -> None:
    entry(bob).delete()
    out = StringIO()
    with pytest.raises(SystemExit) as ended:
        call_command("audit", f"--signal=S-{signal.pk}", stdout=out)
    assert ended.value.code == 1
    said = out.getvalue()
    assert f"connection {bob.pk}" in said
    assert all(name in said and means in said for name, (means, _) in COUNTERS.items())
    assert [remedy for _, remedy in COUNTERS.values() if remedy in said] == [COUNTERS["MISSING"][1]]


def test_every_counter_is_explained_in_the_help() -> None:
    assert set(COUNTERS) == set(ZERO) == set(audit_sql.COUNTERS)
    for name, (means, _) in COUNTERS.items():
        assert f"  {name:<10}{means}" in audit_command.HELP


@pytest.mark.parametrize("text", ["x", "0", "S-"])
def test_a_signal_that_is_none_is_told(text: str) -> None:
    with pytest.raises(CommandError) as refused:
        call_command("audit", signal=text)
    assert refused.value.returncode == 2


def test_a_failed_audit_leaves_an_alarm(signal: Signal, bob: ExecutionConnection) -> None:
    audit_and_alarm()
    assert cast.events("audit.failed") == []
    entry(bob).delete()
    audit_and_alarm()
    (told,) = cast.events("audit.failed")
    assert told["counters"] == {"MISSING": 1}
    runs = list(AuditRun.objects.order_by("at").values_list("ok", "counters__MISSING"))
    assert runs == [(True, 0), (False, 1)]


def test_unread_books_are_an_alarm_too(signal: Signal, broker: Double) -> None:
    broker.reads_fail = True
    audit_and_alarm()
    (told,) = cast.events("audit.failed")
    assert (told["counters"], told["detail"]) == ({}, "Books that could not be read: double.")
    assert AuditRun.objects.get().unread == ["double"]


def test_the_hourly_task_looks_twice_before_it_alarms(
    signal: Signal, bob: ExecutionConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    again: list[tuple[object, ...]] = []
    monkeypatch.setattr(tasks.audit, "apply_async", lambda args, **_: again.append(args))
    tasks.audit()
    assert (again, AuditRun.objects.count()) == ([], 1)
    entry(bob).delete()
    tasks.audit()
    assert (again, cast.events("audit.failed")) == ([(True,)], [])
    tasks.audit(True)
    assert len(cast.events("audit.failed")) == 1


def test_without_a_bell_it_alarms_at_once(
    signal: Signal, bob: ExecutionConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_bell(*_: object, **__: object) -> None:
        raise ConnectionError

    monkeypatch.setattr(tasks.audit, "apply_async", no_bell)
    entry(bob).delete()
    tasks.audit()
    assert len(cast.events("audit.failed")) == 1


def test_a_run_is_kept_for_a_month() -> None:
    AuditRun.objects.create(ok=True, at=market_now() - timedelta(days=31))
    audit_and_alarm()
    assert AuditRun.objects.count() == 1
