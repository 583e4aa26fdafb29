"""A MODIFY signal changes the entry price on all accounts, in whatever state the entry is."""

from datetime import timedelta
from decimal import Decimal as D
from typing import Any

import pytest
from django.db import transaction

from brokers.types import OrderField
from common.clocks import market_now
from common.db.sql import rows
from common.errors import InvalidInputError
from connections.models import ExecutionConnection
from execution import services
from execution.models import ChangeState, EntryChange, Order, OrderTrigger
from execution.monitoring.pending_actions import process_pending_actions
from execution.runtime.trading_runtime import TradingRuntime
from execution.submission import changes
from positions.models import ExecutionPosition
from signals.models import Action, Feed, Origin, Signal
from signals.publishing.ingest import save_draft
from signals.reading.draft import SignalDraft
from signals.reading.errors import field_errors
from tests.execution import factories
from tests.execution.fake_broker import FakeBroker
from tests.hanging import beside

pytestmark = pytest.mark.django_db
PRICE, NEW = D("1.09500"), D("1.09400")
HOUR = timedelta(hours=1)


@pytest.fixture
def opened(alice: ExecutionConnection, feed: Feed, runtime: TradingRuntime) -> Signal:
    return factories.signal(feed, order_type="LIMIT", open_price=PRICE)


def modify(of: Signal, **fields: Any) -> Signal:
    values = {"open_price": NEW, "sl": None, **fields}
    return factories.signal(
        of.feed, action="MODIFY", refers_to=of, direction=of.direction, **values
    )


def send() -> None:
    """Every waiting entry works at the broker afterwards."""
    broker = factories.fake_broker()
    for outgoing in factories.claim_all():
        factories.answer(outgoing, broker.rest(outgoing.request))


def order() -> Order:
    return Order.objects.get(leg="entry")


def states() -> list[tuple[str, str]]:
    return list(EntryChange.objects.order_by("pk").values_list("state", "code"))


def settle() -> None:
    for _ in range(3):
        process_pending_actions()
        factories.pass_time(2)


def test_entry_that_is_not_sent_gets_the_price_at_once(opened: Signal, broker: FakeBroker) -> None:
    follower = modify(opened)
    assert order().limit_price == NEW
    change = EntryChange.objects.get()
    assert (change.state, change.signal_id, change.requested_name) == (
        "DONE", follower.pk, follower.number,
    )  # fmt: skip
    [outgoing] = factories.claim_all()
    assert outgoing.request.limit_price == NEW


def test_entry_that_works_is_changed_at_the_broker(opened: Signal, broker: FakeBroker) -> None:
    send()
    follower = modify(opened)
    assert order().limit_price == PRICE
    settle()
    assert (order().limit_price, broker.tickets[0].request.limit_price) == (NEW, NEW)
    assert [one["by"] for one in factories.events("order.changed")] == [follower.number]
    assert len(broker.tickets) == 1


def test_modify_that_overtakes_the_entry_waits_for_its_outcome(
    opened: Signal, broker: FakeBroker
) -> None:
    [outgoing] = factories.claim_all()  # being sent
    modify(opened)
    settle()
    assert states() == [("WAITING", "")]
    factories.answer(outgoing, broker.rest(outgoing.request))
    settle()
    assert (states(), order().limit_price) == ([("DONE", "")], NEW)


def test_change_of_a_signal_counts_from_when_it_could_be_sent(
    opened: Signal, broker: FakeBroker
) -> None:
    """Else its wait for the entry's outcome would be an answer that the broker owes."""
    [outgoing] = factories.claim_all()
    modify(opened)
    EntryChange.objects.update(requested_at=market_now() - HOUR)
    factories.answer(outgoing, broker.rest(outgoing.request))
    settle()
    assert states() == [("DONE", "")]
    assert EntryChange.objects.get().requested_at > market_now() - HOUR / 2


@pytest.mark.parametrize("action", ["EXPIRE", "CANCEL", "CLOSE", ""])
def test_price_of_an_entry_that_is_being_cancelled_is_refused(
    opened: Signal, broker: FakeBroker, action: str
) -> None:
    send()
    status = order().status if action else "CANCEL_REQUESTED"
    Order.objects.update(pending_action=action, status=status, due_at=market_now() + HOUR)
    modify(opened)
    settle()
    assert states() == [("REFUSED", "ORDER_BEING_CANCELLED")]
    assert (order().limit_price, order().pending_action) == (PRICE, action)


@pytest.mark.django_db(transaction=True)
def test_modify_does_not_wait_for_an_account_that_is_being_claimed(
    opened: Signal, broker: FakeBroker, alice: ExecutionConnection
) -> None:
    with transaction.atomic():
        rows(changes.LOCK_CONNECTION, (alice.pk,))
        publishing = beside(lambda: modify(opened))
        publishing.join(60)
        assert not publishing.is_alive()
    assert (states(), order().limit_price) == ([("WAITING", "")], PRICE)
    process_pending_actions()
    assert (states(), order().limit_price) == ([("DONE", "")], NEW)


def test_newer_modify_replaces_one_that_still_waits(opened: Signal, broker: FakeBroker) -> None:
    [outgoing] = factories.claim_all()
    modify(opened)
    newest = modify(opened, open_price=D("1.09300"))
    factories.answer(outgoing, broker.rest(outgoing.request))
    settle()
    assert states() == [("DONE", "")]
    assert (EntryChange.objects.get().signal_id, order().limit_price) == (newest.pk, D("1.093"))


def test_modify_waits_for_an_open_change(opened: Signal, broker: FakeBroker) -> None:
    send()
    broker.changing = "silent"
    modify(opened)
    process_pending_actions()
    modify(opened, open_price=D("1.09300"))
    broker.changing = "take"
    settle()
    settle()
    assert states() == [("DONE", ""), ("DONE", "")]
    assert order().limit_price == D("1.093")


def test_broker_that_changes_no_prices_is_stated_on_the_order(
    opened: Signal, broker: FakeBroker
) -> None:
    send()
    broker.changes_orders = frozenset({OrderField.QUANTITY})
    modify(opened)
    settle()
    assert states() == [("REFUSED", "CHANGE_UNSUPPORTED")]
    assert order().limit_price == PRICE
    assert factories.log_codes(order().pk)[-1][0] == "CHANGE_UNSUPPORTED"


@pytest.mark.parametrize("how", ["filled", "cancelled"])
def test_ended_entry_is_not_changed(opened: Signal, broker: FakeBroker, how: str) -> None:
    [outgoing] = factories.claim_all()
    modify(opened)
    factories.answer(outgoing, broker.rest(outgoing.request))
    if how == "filled":
        factories.apply(broker.execute(broker.tickets[0]))
    else:
        services.cancel_order(order().pk)
    settle()
    [(state, code)] = states()
    assert (state, code) in [("REFUSED", "ORDER_ENDED"), ("REFUSED", "ORDER_BEING_CANCELLED")]


def test_held_entry_waits_at_the_new_price(
    alice: ExecutionConnection, feed: Feed, runtime: TradingRuntime
) -> None:
    opened = factories.signal(feed, order_type="IF_TOUCHED", stop_price=PRICE)
    factories.claim_all()
    modify(opened, open_price=None, stop_price=NEW)
    trigger = OrderTrigger.objects.get()
    assert (trigger.level, order().stop_price) == (NEW, NEW)
    assert "1.094" in order().detail


def test_modify_of_price_and_stop_does_both(opened: Signal, broker: FakeBroker) -> None:
    modify(opened, sl=D("1.08000"))
    [outgoing] = factories.claim_all()
    assert outgoing.request.limit_price == NEW
    factories.answer(outgoing, broker.fill_at_once(outgoing.request))
    assert ExecutionPosition.objects.get().sl == D("1.08")


def test_price_that_the_entry_does_not_have_is_refused_with_all_faults(
    alice: ExecutionConnection, feed: Feed
) -> None:
    opened = factories.signal(feed)  # at market
    draft = SignalDraft(action=Action.MODIFY, refers_to=opened.pk, open_price=NEW, stop_price=NEW)
    with pytest.raises(InvalidInputError) as refused:
        save_draft(feed, draft, origin=Origin.API, by=None)
    assert [one.field for one in field_errors(refused.value)] == ["open_price", "stop_price"]
    assert ChangeState.WAITING not in {one.state for one in EntryChange.objects.all()}


# ---- the order's log -----------------------------------------------------------------------------
def test_log_states_the_old_and_the_new_price(opened: Signal, broker: FakeBroker) -> None:
    first = modify(opened)
    send()
    second = modify(opened, open_price=D("1.09300"))
    assert factories.log_texts(order().pk, "ORDER_CHANGED") == [
        f"limit price 1.095 to 1.094; by {first.number}"
    ]
    assert factories.log_texts(order().pk, "CHANGE_REQUESTED") == [
        f"limit price 1.094 to 1.093; by {second.number}"
    ]


def test_log_states_the_old_and_the_new_end(opened: Signal, broker: FakeBroker) -> None:
    until = market_now() + HOUR
    assert opened.valid_until is None or opened.valid_until != until
    moved = modify(opened, open_price=None, valid_until=until)
    [text] = factories.log_texts(order().pk, "ORDER_CHANGED")
    old = opened.valid_until
    before = f"{old:%Y-%m-%d %H:%M:%S} UTC" if old else "none"
    assert text == f"end {before} to {until:%Y-%m-%d %H:%M:%S} UTC; by {moved.number}"


def test_log_states_the_levels_of_an_entry_that_has_not_filled(
    opened: Signal, broker: FakeBroker
) -> None:
    """Those of a person give way: they are what it had."""
    send()
    first = modify(
        opened, open_price=None, sl=D("1.089"), targets=[("1.11", "0.5"), ("1.12", "0.5")]
    )
    Order.objects.update(own_stop_loss=D("1.0885"), own_take_profit=D("1.105"))
    second = modify(opened, open_price=None, sl=D("1.087"), targets=[("1.13", "1")])
    modify(opened, open_price=None, sl=D("1.087"))
    assert factories.log_texts(order().pk, "ORDER_CHANGED") == [
        f"stop loss 1.09 to 1.089, targets none to 1.11 1.12; by {first.number}",
        f"stop loss 1.0885 to 1.087, targets 1.105 1.12 to 1.13; by {second.number}",
    ]
