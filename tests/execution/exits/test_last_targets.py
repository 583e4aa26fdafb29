"""The last target of a position, beside late fills, other exits, corrections and MODIFYs."""

from dataclasses import replace
from decimal import Decimal as D

import pytest

from connections.models import ExecutionConnection, Instrument
from execution.models import Order
from execution.monitoring.level_monitor import scan_levels
from execution.monitoring.stop_rules import judge_due
from execution.services import close_dust, close_position
from positions.models import ExecutionPosition
from signals.models import Feed
from tests.execution import factories
from tests.execution.exits.test_orders import (
    _modify_targets,
    _reject,
)
from tests.execution.fake_broker_book import Ticket

pytestmark = pytest.mark.django_db


def test_last_target_stays_if_another_exit_fails_after_it(
    alice: ExecutionConnection, feed: Feed
) -> None:
    """It closes all that is left; half of it was reserved by a person's exit, which fails."""
    position = factories.filled(factories.signal(feed, [("1.11", "1")]))
    close_position(position.pk, fraction=D("0.5"))
    [by_hand] = factories.claim_all()
    factories.quote(alice, "1.11500", "1.11510")
    scan_levels()
    [target] = factories.claim_all()
    factories.answer(target, factories.fake_broker().fill_at_once(target.request))
    _reject(by_hand)
    position.refresh_from_db()
    assert (position.quantity, position.tp) == (50, D("1.11"))


def test_rest_of_the_entry_that_fills_after_the_last_target_has_it_too(
    alice: ExecutionConnection, feed: Feed
) -> None:
    factories.signal(feed, [("1.11", "1")])
    [entry] = factories.claim_all()
    broker = factories.fake_broker()
    ticket = broker.receive(entry.request)
    factories.answer(entry, [broker.execute(ticket, D(40))])
    factories.quote(alice, "1.11500", "1.11510")
    scan_levels()
    [target] = factories.claim_all()
    factories.answer(target, broker.fill_at_once(target.request))
    factories.quote(alice, "1.10000", "1.10010")
    rest = broker.execute(ticket, entry.request.quantity - 40)
    factories.apply(replace(rest, event_id="rest"))
    position = ExecutionPosition.objects.get()
    assert position.quantity == 60
    factories.quote(alice, "1.11500", "1.11510")
    assert len(scan_levels()) == 1


def test_position_that_a_correction_opens_again_has_its_target(
    alice: ExecutionConnection, feed: Feed
) -> None:
    factories.filled(factories.signal(feed, [("1.11", "1")]))
    factories.quote(alice, "1.11500", "1.11510")
    scan_levels()
    [target] = factories.claim_all()
    broker = factories.fake_broker()
    ticket = broker.receive(target.request)
    executed = broker.execute(ticket, target.request.quantity)
    factories.answer(target, [executed])
    [fill] = executed.fills
    corrected = replace(fill, quantity=D(70), revision=1)
    factories.apply(replace(executed, fills=(corrected,), event_id="bust"))
    position = ExecutionPosition.objects.get()
    assert (position.quantity, position.tp) == (30, D("1.11"))


def test_only_target_of_a_modify_is_not_lost_when_an_earlier_ones_exit_fills(
    alice: ExecutionConnection, feed: Feed
) -> None:
    """The exit of a half is in flight; then the provider names one target for all that is left."""
    signal = factories.signal(feed, [("1.11", "0.5"), ("1.12", "0.5")])
    factories.filled(signal)
    factories.quote(alice, "1.11500", "1.11510")
    scan_levels()
    [target] = factories.claim_all()
    _modify_targets(signal, [("1.13", "1")])
    factories.answer(target, factories.fake_broker().fill_at_once(target.request))
    position = ExecutionPosition.objects.get()
    assert (position.quantity, position.tp) == (50, D("1.13"))


def test_last_partial_target_stays_if_another_exit_fails_after_it(
    alice: ExecutionConnection, feed: Feed
) -> None:
    position = factories.filled(factories.signal(feed, [("1.11", "0.5")]))
    close_position(position.pk, fraction=D("0.8"))
    [by_hand] = factories.claim_all()
    factories.quote(alice, "1.11500", "1.11510")
    scan_levels()
    [target] = factories.claim_all()
    assert target.request.quantity == 20
    factories.answer(target, factories.fake_broker().fill_at_once(target.request))
    _reject(by_hand)
    position.refresh_from_db()
    assert (position.quantity, position.tp) == (80, D("1.11"))


def test_thirds_closed_all_and_a_correction_opens_again(
    alice: ExecutionConnection, feed: Feed
) -> None:
    third = [("1.11", "0.3333"), ("1.12", "0.3333"), ("1.13", "0.3333")]
    factories.filled(factories.signal(feed, third))
    Instrument.objects.update(quantity_min=D(20))
    for bid in ("1.115", "1.125", "1.135"):
        factories.quote(alice, bid)
        scan_levels()
        [target] = factories.claim_all()
        broker = factories.fake_broker()
        ticket = broker.receive(target.request)
        executed = broker.execute(ticket, target.request.quantity)
        factories.answer(target, [executed])
    position = ExecutionPosition.objects.get()
    assert position.quantity == 0
    [fill] = executed.fills
    factories.apply(
        replace(executed, fills=(replace(fill, quantity=D(10), revision=1),), event_id="bust")
    )
    position.refresh_from_db()
    assert position.tp == D("1.13")


def test_break_even_after_the_target_that_a_modify_made_the_last(
    alice: ExecutionConnection, feed: Feed
) -> None:
    signal = factories.signal(feed, [("1.11", "0.5"), ("1.12", "0.5")], break_even_target=1)
    factories.filled(signal)
    factories.quote(alice, "1.11500", "1.11510")
    scan_levels()
    [target] = factories.claim_all()
    _modify_targets(signal, [("1.13", "1")])
    factories.answer(target, factories.fake_broker().fill_at_once(target.request))
    judge_due()
    position = ExecutionPosition.objects.get()
    assert (position.quantity, position.tp) == (50, D("1.13"))
    assert position.sl == D("1.1")


def test_modify_to_one_larger_partial_target_while_the_first_is_in_flight(
    alice: ExecutionConnection, feed: Feed
) -> None:
    signal = factories.signal(feed, [("1.11", "0.5"), ("1.12", "0.5")])
    factories.filled(signal)
    factories.quote(alice, "1.11500", "1.11510")
    scan_levels()
    [target] = factories.claim_all()
    _modify_targets(signal, [("1.13", "0.8")])
    factories.answer(target, factories.fake_broker().fill_at_once(target.request))
    position = ExecutionPosition.objects.get()
    assert (position.quantity, position.tp) == (50, D("1.13"))


def test_broker_does_not_hold_a_target_of_a_part_that_a_modify_sets(
    alice: ExecutionConnection, feed: Feed
) -> None:
    """The broker's target closes all of the position; the provider wants a half."""
    signal = factories.signal(feed, [("1.11", "1")])
    factories.filled(signal)
    ExecutionPosition.objects.update(tp_guardian="BROKER", broker_tp=D("1.11"))
    _modify_targets(signal, [("1.12", "0.5")])
    position = ExecutionPosition.objects.get()
    assert (position.tp, position.tp_guardian) == (D("1.12"), "ENGINE")


def test_break_even_after_the_only_target_which_is_of_a_part(
    alice: ExecutionConnection, feed: Feed
) -> None:
    factories.filled(factories.signal(feed, [("1.11", "0.5")], break_even_target=1))
    factories.quote(alice, "1.11500", "1.11510")
    scan_levels()
    factories.fill_all()
    factories.quote(alice, "1.10500", "1.10510")
    scan_levels()
    judge_due()
    position = ExecutionPosition.objects.get()
    assert position.quantity == 50
    assert position.sl == D("1.1")


@pytest.mark.parametrize("late", [10, 20])
def test_small_late_fill_does_not_close_more_than_the_part(
    alice: ExecutionConnection, feed: Feed, late: int
) -> None:
    Instrument.objects.update(quantity_step=D(1), quantity_min=D(30))
    factories.signal(feed, [("1.11", "0.5")])
    [entry] = factories.claim_all()
    broker = factories.fake_broker()
    ticket = broker.receive(entry.request)
    factories.answer(entry, [broker.execute(ticket, D(100 - late))])
    factories.quote(alice, "1.11500", "1.11510")
    scan_levels()
    [target] = factories.claim_all()
    factories.answer(target, broker.fill_at_once(target.request))
    factories.quote(alice, "1.10000", "1.10010")
    factories.apply(replace(broker.execute(ticket, D(late)), event_id="rest"))
    factories.quote(alice, "1.11500", "1.11510")
    scan_levels()
    factories.fill_all()
    position = ExecutionPosition.objects.get()
    assert position.quantity >= 50


@pytest.mark.parametrize("is_seen_again", [True, False])
def test_target_that_a_modify_gives_after_the_part(
    alice: ExecutionConnection, feed: Feed, is_seen_again: bool
) -> None:
    signal = factories.signal(feed, [("1.11", "0.5")])
    factories.filled(signal)
    factories.quote(alice, "1.11500", "1.11510")
    scan_levels()
    factories.fill_all()
    if is_seen_again:
        scan_levels()
    factories.quote(alice, "1.10500", "1.10510")
    scan_levels()
    _modify_targets(signal, [("1.13", "0.5")])
    factories.quote(alice, "1.13500", "1.13510")
    scan_levels()
    factories.fill_all()
    assert ExecutionPosition.objects.get().quantity == 0


def test_own_target_stays_the_accounts_own_after_it_was_reached(
    alice: ExecutionConnection, feed: Feed
) -> None:
    """The owner gave the entry a target of 1.15; the signal's is 1.11."""
    factories.signal(feed, [("1.11", "1")])
    Order.objects.update(own_take_profit=D("1.15"))
    [entry] = factories.claim_all()
    broker = factories.fake_broker()
    ticket = broker.receive(entry.request)
    factories.answer(entry, [broker.execute(ticket, D(40))])
    assert ExecutionPosition.objects.get().tp == D("1.15")
    factories.quote(alice, "1.15500", "1.15510")
    scan_levels()
    [target] = factories.claim_all()
    factories.answer(target, broker.fill_at_once(target.request))
    factories.quote(alice, "1.12000", "1.12010")
    factories.apply(replace(broker.execute(ticket, D(60)), event_id="rest"))
    assert scan_levels() == []
    position = ExecutionPosition.objects.get()
    assert (position.quantity, position.tp) == (60, D("1.15"))


def test_break_even_after_the_second_of_two_targets_of_a_part(
    alice: ExecutionConnection, feed: Feed
) -> None:
    targets = [("1.11", "0.3"), ("1.12", "0.3")]
    factories.filled(factories.signal(feed, targets, break_even_target=2))
    for bid in ("1.115", "1.125"):
        factories.quote(alice, bid)
        scan_levels()
        factories.fill_all()
    factories.quote(alice, "1.10500", "1.10510")
    scan_levels()
    judge_due()
    position = ExecutionPosition.objects.get()
    assert (position.quantity, position.sl) == (40, D("1.1"))


def test_persons_target_stays_after_it_was_reached(alice: ExecutionConnection, feed: Feed) -> None:
    """As above, set on the open position."""
    factories.signal(feed, [("1.11", "1")])
    [entry] = factories.claim_all()
    broker = factories.fake_broker()
    ticket = broker.receive(entry.request)
    factories.answer(entry, [broker.execute(ticket, D(40))])
    ExecutionPosition.objects.update(tp=D("1.15"))
    factories.quote(alice, "1.15500", "1.15510")
    scan_levels()
    [target] = factories.claim_all()
    factories.answer(target, broker.fill_at_once(target.request))
    factories.quote(alice, "1.12000", "1.12010")
    factories.apply(replace(broker.execute(ticket, D(60)), event_id="rest"))
    assert scan_levels() == []


def _hit() -> list[int]:
    account = ExecutionConnection.objects.get()
    factories.quote(account, "1.11500", "1.11510")
    return scan_levels()


def _calm() -> None:
    factories.quote(ExecutionConnection.objects.get(), "1.10000", "1.10010")


def test_last_part_that_closed_the_position_does_not_close_all_of_a_late_fill(
    alice: ExecutionConnection, feed: Feed
) -> None:
    """Half of 40 a person has closed, half the target: then 60 fill. The target's half is 50."""
    factories.signal(feed, [("1.11", "0.5")])
    [entry] = factories.claim_all()
    broker = factories.fake_broker()
    ticket = broker.receive(entry.request)
    factories.answer(entry, [broker.execute(ticket, D(40))])
    close_position(ExecutionPosition.objects.get().pk, fraction=D("0.5"))
    factories.fill_all()
    _hit()
    factories.fill_all()
    assert ExecutionPosition.objects.get().quantity == 0
    _calm()
    factories.apply(replace(broker.execute(ticket, D(60)), event_id="rest"))
    assert ExecutionPosition.objects.get().quantity == 60
    _hit()
    factories.fill_all()
    assert ExecutionPosition.objects.get().quantity >= 30


def test_late_fill_while_the_part_is_in_flight_does_not_close_more_than_the_part(
    alice: ExecutionConnection, feed: Feed
) -> None:
    Instrument.objects.update(quantity_step=D(1), quantity_min=D(30))
    factories.signal(feed, [("1.11", "0.5")])
    [entry] = factories.claim_all()
    broker = factories.fake_broker()
    ticket = broker.receive(entry.request)
    factories.answer(entry, [broker.execute(ticket, D(80))])
    _hit()
    [target] = factories.claim_all()
    assert target.request.quantity == 40
    factories.apply(replace(broker.execute(ticket, D(20)), event_id="rest"))
    factories.answer(target, broker.fill_at_once(target.request))
    _hit()
    factories.fill_all()
    assert ExecutionPosition.objects.get().quantity >= 50


def test_rest_of_the_part_below_the_minimum_does_not_close_more_than_the_part(
    alice: ExecutionConnection, feed: Feed
) -> None:
    """60 are reserved by a person's exit, which fails after the target has closed 40 of its 50."""
    Instrument.objects.update(quantity_step=D(1), quantity_min=D(30))
    position = factories.filled(factories.signal(feed, [("1.11", "0.5")]))
    close_position(position.pk, fraction=D("0.6"))
    [by_hand] = factories.claim_all()
    _hit()
    [target] = factories.claim_all()
    assert target.request.quantity == 40
    factories.answer(target, factories.fake_broker().fill_at_once(target.request))
    _reject(by_hand)
    _hit()
    factories.fill_all()
    assert ExecutionPosition.objects.get().quantity >= 50


def test_no_exit_of_the_dust_that_the_last_target_leaves(
    alice: ExecutionConnection, feed: Feed
) -> None:
    Instrument.objects.update(close_min=D(10))
    factories.filled(factories.signal(feed, [("1.11", "1")]))
    ExecutionPosition.objects.update(quantity=95, opened_quantity=95)
    _hit()
    factories.fill_all()
    assert ExecutionPosition.objects.get().quantity == 5
    assert _hit() == []
    factories.claim_all()
    close_dust()
    rows = list(Order.objects.exits().order_by("pk").values_list("leg", "status", "reason"))
    assert rows == [("tp-1", "FILLED", ""), ("dust-1", "FILLED", "")]


def test_little_that_a_late_fill_adds_to_a_part_is_not_closed_as_a_minimum(
    alice: ExecutionConnection, feed: Feed
) -> None:
    """Of 40 a person and the target closed half each; of 15 more its part would be 7, of 10."""
    Instrument.objects.update(quantity_step=D(1), quantity_min=D(10))
    factories.signal(feed, [("1.11", "0.5")])
    [entry] = factories.claim_all()
    broker = factories.fake_broker()
    ticket = broker.receive(entry.request)
    factories.answer(entry, [broker.execute(ticket, D(40))])
    close_position(ExecutionPosition.objects.get().pk, fraction=D("0.5"))
    factories.fill_all()
    _hit()
    factories.fill_all()
    _calm()
    factories.apply(replace(broker.execute(ticket, D(15)), event_id="rest"))
    assert _hit() == []
    position = ExecutionPosition.objects.get()
    assert (position.quantity, position.tp) == (15, None)


def _one_target_beyond_the_list(feed: Feed) -> Ticket:
    """The only target closed a part of 80; a MODIFY names one again, which is for all, then.

    Returns the entry at the broker, of which 20 may still fill.
    """
    signal = factories.signal(feed, [("1.11", "0.2")])
    [entry] = factories.claim_all()
    broker = factories.fake_broker()
    ticket = broker.receive(entry.request)
    factories.answer(entry, [broker.execute(ticket, D(80))])
    _hit()
    factories.fill_all()
    _modify_targets(signal, [("1.112", "0.2")])
    return ticket


def test_target_for_all_beyond_a_list_of_a_part_stays_for_a_late_fill(
    alice: ExecutionConnection, feed: Feed
) -> None:
    ticket = _one_target_beyond_the_list(feed)
    broker = factories.fake_broker()
    _hit()
    [target] = factories.claim_all()
    assert target.request.quantity == 70  # a fifth of 80 in steps of 10 was 10
    factories.apply(replace(broker.execute(ticket, D(20)), event_id="rest"))
    factories.answer(target, broker.fill_at_once(target.request))
    position = ExecutionPosition.objects.get()
    assert (position.quantity, position.tp) == (20, D("1.112"))
    _hit()
    factories.fill_all()
    position.refresh_from_db()
    assert position.quantity == 0


def test_target_for_all_beyond_a_list_of_a_part_stays_if_another_exit_fails(
    alice: ExecutionConnection, feed: Feed
) -> None:
    _one_target_beyond_the_list(feed)
    close_position(ExecutionPosition.objects.get().pk, fraction=D("0.5"))
    [by_hand] = factories.claim_all()
    _hit()
    [target] = factories.claim_all()
    factories.answer(target, factories.fake_broker().fill_at_once(target.request))
    _reject(by_hand)
    position = ExecutionPosition.objects.get()
    assert (position.quantity, position.tp) == (40, D("1.112"))
    _hit()
    factories.fill_all()
    position.refresh_from_db()
    assert position.quantity == 0
