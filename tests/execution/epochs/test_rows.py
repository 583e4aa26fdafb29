"""A restored database: nothing is sent again, and what was under way is asked for."""

from datetime import timedelta
from decimal import Decimal as D

import pytest
from django.utils import timezone

from common.sql import run
from connections.models import Epoch, ExecutionConnection
from execution.calls import runtime, sweeps
from execution.epochs.epochs import open_epoch
from execution.services import cancel_order
from positions.models import ExecutionPosition
from signals.models import Feed
from tests.execution import cast
from tests.execution.double import Double
from tests.execution.epochs.hands import ask_twice, restored, state_of

pytestmark = pytest.mark.django_db


def test_an_entry_that_waited_is_never_sent_again(
    alice: ExecutionConnection, feed: Feed, broker: Double, wire: runtime.Runtime
) -> None:
    cast.signal(feed)
    order = cast.order(leg="entry")
    epoch = restored()
    assert state_of(order) == ("EXPIRED", "RESTORED_UNSENT")
    assert epoch.treated["entries_ended"] == 1
    assert cast.events("order.expired") == [{"code": "RESTORED_UNSENT"}]
    assert cast.log_codes(order.pk)[-1] == ("RESTORED_UNSENT", "EXPIRED")
    assert cast.claim_all() == []
    assert broker.calls == []


def test_what_is_published_in_an_open_epoch_is_skipped(
    alice: ExecutionConnection, feed: Feed
) -> None:
    restored()
    cast.signal(feed)
    assert state_of(cast.order(leg="entry")) == ("SKIPPED", "ENTRIES_HALTED")


def test_rows_of_this_life_are_trusted(alice: ExecutionConnection, feed: Feed) -> None:
    cast.signal(feed)
    order = cast.order(leg="entry")
    epoch = restored(since=order.created_at - timedelta(seconds=1))
    assert state_of(order) == ("PENDING", "")
    assert epoch.treated["entries_ended"] == 0


@pytest.mark.parametrize("status", ["SUBMITTING", "SUBMITTED", "UNKNOWN", "CANCEL_REQUESTED"])
def test_what_was_under_way_is_unknown_and_asked_for(
    status: str, alice: ExecutionConnection, feed: Feed, broker: Double, wire: runtime.Runtime
) -> None:
    """Filled in the life that is forgotten; the broker tells it."""
    cast.signal(feed)
    (outgoing,) = cast.claim_all()
    broker.fill_at_once(outgoing.request)
    run("UPDATE execution_order SET status = %s", (status,))
    order = cast.order(leg="entry")
    restored()
    assert state_of(order) == ("UNKNOWN", "RESTORED")
    assert order.fence >= 1000
    sweeps.ask_brokers(wire.wire)
    order.refresh_from_db()
    assert (order.status, order.filled_quantity) == ("FILLED", 100)
    assert broker.accepted() == [outgoing.request.client_order_id[:-1]]


def test_a_partly_filled_order_is_known_again_though_nothing_new_is_told(
    alice: ExecutionConnection, feed: Feed, broker: Double, wire: runtime.Runtime
) -> None:
    cast.signal(feed)
    (outgoing,) = cast.claim_all()
    cast.answer(outgoing, [broker.execute(broker.receive(outgoing.request), D(40))])
    order = cast.order(leg="entry")
    assert state_of(order)[0] == "PARTIALLY_FILLED"
    restored()
    assert state_of(order) == ("UNKNOWN", "RESTORED")
    sweeps.ask_brokers(wire.wire)
    assert state_of(order)[0] == "PARTIALLY_FILLED"
    order.refresh_from_db()
    assert order.filled_quantity == 40


def test_an_order_waiting_for_its_next_attempt_is_asked_for_under_that_id(
    alice: ExecutionConnection, feed: Feed, broker: Double, wire: runtime.Runtime
) -> None:
    """The backup has it refused and due again; the forgotten rows sent it with the next digit."""
    cast.signal(feed)
    (outgoing,) = cast.claim_all()
    order = cast.order(leg="entry")
    run("UPDATE execution_order SET status = 'PENDING', attempt = 1, due_at = clock_timestamp()")
    sent = cast.claim_all()[0].request
    broker.fill_at_once(sent)
    run(
        "UPDATE execution_order SET status = 'PENDING', client_order_id = %s",
        (outgoing.request.client_order_id,),
    )
    restored()
    sweeps.ask_brokers(wire.wire)
    order.refresh_from_db()
    assert (order.status, order.client_order_id) == ("FILLED", sent.client_order_id)


def test_an_absence_counts_only_when_nobody_can_be_sending_any_more(
    alice: ExecutionConnection, feed: Feed, broker: Double, wire: runtime.Runtime
) -> None:
    cast.signal(feed)
    cast.claim_all()
    order = cast.order(leg="entry")
    open_epoch(Epoch.Cause.COMMAND)
    order.refresh_from_db()
    assert order.answer_by == Epoch.objects.get(released_at=None).answer_by
    run("UPDATE execution_order SET answer_by = answer_by + interval '60 seconds'")
    sweeps.ask_brokers(wire.wire)
    order.refresh_from_db()
    assert (order.status, order.proofs) == ("UNKNOWN", 0)
    ask_twice()
    assert state_of(order) == ("FAILED", "NEVER_ARRIVED")


def test_an_old_decision_bounces_off(
    alice: ExecutionConnection, feed: Feed, broker: Double
) -> None:
    """A process of the life before tells that it did not send; its fence is far behind."""
    cast.signal(feed)
    (outgoing,) = cast.claim_all()
    restored()
    cast.answer(outgoing, TimeoutError())
    assert state_of(cast.order(leg="entry")) == ("UNKNOWN", "RESTORED")


def test_numbers_of_the_forgotten_rows_are_not_given_out_again(
    alice: ExecutionConnection, feed: Feed
) -> None:
    before = cast.signal(feed)
    order = cast.order(leg="entry")
    restored()
    after = cast.signal(feed)
    assert after.pk > before.pk + 10_000
    assert cast.order(signal=after).pk > order.pk + 1_000_000


def test_a_cancel_that_was_wished_for_is_still_wished_for(
    alice: ExecutionConnection, feed: Feed, broker: Double
) -> None:
    cast.signal(feed)
    (outgoing,) = cast.claim_all()
    cast.answer(outgoing, broker.rest(outgoing.request))
    order = cast.order(leg="entry")
    cancel_order(order.pk)
    restored()
    order.refresh_from_db()
    assert (order.status, order.wish) == ("UNKNOWN", "CANCEL")


def test_what_was_seen_missing_before_the_backup_is_looked_at_anew(
    alice: ExecutionConnection, feed: Feed
) -> None:
    position = cast.filled(cast.signal(feed))
    ExecutionPosition.objects.update(missing_since=timezone.now())
    restored()
    position.refresh_from_db()
    assert position.missing_since is None
