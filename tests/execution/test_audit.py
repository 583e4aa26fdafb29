"""The audit: silent when all is well, and each counter can speak."""

import json
from dataclasses import replace
from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from brokers.base import CloseCause
from common.clocks import market_now
from common.sql import run
from connections.models import ExecutionConnection, SubscriptionInterval
from execution.audit import GRACE_SECONDS, audit, audit_and_alarm
from execution.models import Order
from execution.services import close_position, retry_order
from positions.models import ExecutionPosition
from signals.models import Feed, Signal
from tests.connections import make
from tests.execution import cast
from tests.execution.double import Double

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
    broker.receive(replace(request, client_order_id="fcx00000000000000"))
    assert wrong() == {"ORPHAN": 1}
    assert wrong(signal.pk) == {}


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


def test_books_that_cannot_be_read_are_named(signal: Signal, broker: Double) -> None:
    broker.reads_fail = True
    assert audit().unread == ["double"]


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
    assert f"connection {bob.pk}" in out.getvalue()


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
