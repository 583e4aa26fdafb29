"""The last target of a position, beside late fills, other exits, corrections and MODIFYs."""

from dataclasses import replace
from decimal import Decimal as D

import pytest

from connections.models import ExecutionConnection, Instrument
from execution.models import Order
from execution.monitoring.stop_rules import judge_due
from execution.services import close_dust
from positions.models import ExecutionPosition
from signals.models import Feed
from tests.execution import factories
from tests.execution.trade_steps import Trade, execute, fill, modify_targets, reject

pytestmark = pytest.mark.django_db

ALL = ("1.11", "1")
HALF = ("1.11", "0.5")
HALVES = (HALF, ("1.12", "0.5"))


@pytest.fixture
def trade(alice: ExecutionConnection, feed: Feed) -> Trade:
    return Trade(alice, feed)


@pytest.mark.parametrize(
    ("target", "by_hand", "closed", "left"),
    [(ALL, "0.5", 50, 50), (HALF, "0.8", 20, 80)],
    ids=["of all that is left", "of a part"],
)
def test_last_target_stays_if_another_exit_fails_after_it(
    trade: Trade, target: tuple[str, str], by_hand: str, closed: int, left: int
) -> None:
    """It closes what is not reserved by a person's exit, which fails."""
    trade.open(target)
    persons = trade.close_by_hand(by_hand)
    reached = trade.hit()
    assert reached.request.quantity == closed
    fill(reached)
    reject(persons)
    assert trade.shown == (left, D("1.11"))


def test_rest_of_the_entry_that_fills_after_the_last_target_has_it_too(trade: Trade) -> None:
    trade.open(ALL, filled=40)
    fill(trade.hit())
    factories.quote(trade.account)
    trade.fill_rest(60)
    assert trade.position.quantity == 60
    assert len(trade.price("1.11500")) == 1


def test_position_that_a_correction_opens_again_has_its_target(trade: Trade) -> None:
    trade.open(ALL)
    trade.correct(execute(trade.hit()), 70)
    assert trade.shown == (30, D("1.11"))


@pytest.mark.parametrize(
    ("fraction", "has_break_even"), [("1", False), ("0.8", False), ("1", True)]
)
def test_target_of_a_modify_is_not_lost_when_an_earlier_ones_exit_fills(
    trade: Trade, fraction: str, has_break_even: bool
) -> None:
    """The exit of a half is in flight; then the provider names one target, for all or a part."""
    rule = {"break_even_target": 1} if has_break_even else {}
    signal = trade.open(*HALVES, **rule)
    reached = trade.hit()
    modify_targets(signal, [("1.13", fraction)])
    fill(reached)
    if has_break_even:
        judge_due()
        assert trade.position.sl == D("1.1")
    assert trade.shown == (50, D("1.13"))


def test_late_fill_of_an_earlier_target_does_not_bring_the_next_one_back(trade: Trade) -> None:
    trade.open(("1.11", "0.5"), ("1.12", "0.3"), ("1.13", "0.2"))
    first = trade.hit("1.11500")
    ticket = factories.fake_broker().receive(first.request)
    factories.answer(first, [factories.fake_broker().execute(ticket, D(40))])
    reject(first)  # the rest
    assert trade.shown == (60, D("1.12"))
    fill(trade.hit("1.12500"))
    assert trade.shown == (30, D("1.13"))
    late = factories.fake_broker().execute(ticket, D(10))
    factories.apply(replace(late, event_id="late"))
    assert trade.shown == (20, D("1.13"))


def test_thirds_closed_all_and_a_correction_opens_again(trade: Trade) -> None:
    trade.open(("1.11", "0.3333"), ("1.12", "0.3333"), ("1.13", "0.3333"))
    Instrument.objects.update(quantity_min=D(20))
    executed = [execute(trade.hit(bid)) for bid in ("1.115", "1.125", "1.135")]
    assert trade.position.quantity == 0
    trade.correct(executed[-1], 10)
    assert trade.position.tp == D("1.13")


def test_broker_does_not_hold_a_target_of_a_part_that_a_modify_sets(trade: Trade) -> None:
    """The broker's target closes all of the position; the provider wants a half."""
    signal = trade.open(ALL)
    ExecutionPosition.objects.update(tp_guardian="BROKER", broker_tp=D("1.11"))
    modify_targets(signal, [("1.12", "0.5")])
    assert (trade.position.tp, trade.position.tp_guardian) == (D("1.12"), "ENGINE")


@pytest.mark.parametrize(
    ("targets", "left"), [([HALF], 50), ([("1.11", "0.3"), ("1.12", "0.3")], 40)]
)
def test_break_even_after_the_last_target_which_is_of_a_part(
    trade: Trade, targets: list[tuple[str, str]], left: int
) -> None:
    trade.open(*targets, break_even_target=len(targets))
    for bid in ("1.115", "1.125")[: len(targets)]:
        trade.hit_and_fill(bid)
    trade.price("1.10500")
    judge_due()
    assert (trade.position.quantity, trade.position.sl) == (left, D("1.1"))


@pytest.mark.parametrize("late", [10, 20])
def test_small_late_fill_does_not_close_more_than_the_part(trade: Trade, late: int) -> None:
    Instrument.objects.update(quantity_step=D(1), quantity_min=D(30))
    trade.open(HALF, filled=100 - late)
    fill(trade.hit())
    factories.quote(trade.account)
    trade.fill_rest(late)
    trade.hit_and_fill()
    assert trade.position.quantity >= 50


@pytest.mark.parametrize("is_seen_again", [True, False])
def test_target_that_a_modify_gives_after_the_part(trade: Trade, is_seen_again: bool) -> None:
    signal = trade.open(HALF)
    trade.hit_and_fill()
    if is_seen_again:
        trade.price("1.11500")
    trade.price("1.10500")
    modify_targets(signal, [("1.13", "0.5")])
    trade.hit_and_fill("1.13500")
    assert trade.position.quantity == 0


@pytest.mark.parametrize("is_of_the_entry", [True, False])
def test_own_target_stays_the_accounts_own_after_it_was_reached(
    trade: Trade, is_of_the_entry: bool
) -> None:
    """The owner gave the entry, or the open position, a target of 1.15; the signal's is 1.11."""
    factories.signal(trade.feed, [ALL])
    if is_of_the_entry:
        Order.objects.update(own_take_profit=D("1.15"))
    trade.fill_entry(40)
    if not is_of_the_entry:
        ExecutionPosition.objects.update(tp=D("1.15"))
    assert trade.position.tp == D("1.15")
    fill(trade.hit("1.15500"))
    factories.quote(trade.account, "1.12000")
    trade.fill_rest(60)
    assert trade.price("1.12000") == []
    if is_of_the_entry:
        assert trade.shown == (60, D("1.15"))


def test_last_part_that_closed_the_position_does_not_close_all_of_a_late_fill(trade: Trade) -> None:
    """Half of 40 a person has closed, half the target: then 60 fill. The target's half is 50."""
    trade.open(HALF, filled=40)
    fill(trade.close_by_hand("0.5"))
    trade.hit_and_fill()
    assert trade.position.quantity == 0
    factories.quote(trade.account)
    trade.fill_rest(60)
    assert trade.position.quantity == 60
    trade.hit_and_fill()
    assert trade.position.quantity >= 30


def test_late_fill_while_the_part_is_in_flight_does_not_close_more_than_the_part(
    trade: Trade,
) -> None:
    Instrument.objects.update(quantity_step=D(1), quantity_min=D(30))
    trade.open(HALF, filled=80)
    target = trade.hit()
    assert target.request.quantity == 40
    trade.fill_rest(20)
    fill(target)
    trade.hit_and_fill()
    assert trade.position.quantity >= 50


def test_rest_of_the_part_below_the_minimum_does_not_close_more_than_the_part(
    trade: Trade,
) -> None:
    """60 are reserved by a person's exit, which fails after the target has closed 40 of its 50."""
    Instrument.objects.update(quantity_step=D(1), quantity_min=D(30))
    trade.open(HALF)
    by_hand = trade.close_by_hand("0.6")
    target = trade.hit()
    assert target.request.quantity == 40
    fill(target)
    reject(by_hand)
    trade.hit_and_fill()
    assert trade.position.quantity >= 50


def test_no_exit_of_the_dust_that_the_last_target_leaves(trade: Trade) -> None:
    Instrument.objects.update(close_min=D(10))
    trade.open(ALL)
    ExecutionPosition.objects.update(quantity=95, opened_quantity=95)
    trade.hit_and_fill()
    assert trade.position.quantity == 5
    assert trade.price("1.11500") == []
    factories.claim_all()
    close_dust()
    rows = list(Order.objects.exits().order_by("pk").values_list("leg", "status", "reason"))
    assert rows == [("tp-1", "FILLED", ""), ("dust-1", "FILLED", "")]


def test_little_that_a_late_fill_adds_to_a_part_is_not_closed_as_a_minimum(trade: Trade) -> None:
    """Of 40 a person and the target closed half each; of 15 more its part would be 7, of 10."""
    Instrument.objects.update(quantity_step=D(1), quantity_min=D(10))
    trade.open(HALF, filled=40)
    fill(trade.close_by_hand("0.5"))
    trade.hit_and_fill()
    factories.quote(trade.account)
    trade.fill_rest(15)
    assert trade.price("1.11500") == []
    assert trade.shown == (15, None)


@pytest.fixture
def beyond_the_list(trade: Trade) -> Trade:
    """The only target closed a part of 80; a MODIFY names one again, which is for all, then."""
    signal = trade.open(("1.11", "0.2"), filled=80)
    trade.hit_and_fill()
    modify_targets(signal, [("1.112", "0.2")])
    return trade


@pytest.mark.parametrize(("beside", "left"), [("late fill", 20), ("exit that fails", 40)])
def test_target_for_all_beyond_a_list_of_a_part_stays(
    beyond_the_list: Trade, beside: str, left: int
) -> None:
    trade = beyond_the_list
    persons = trade.close_by_hand("0.5") if beside == "exit that fails" else None
    target = trade.hit()
    if persons is None:
        assert target.request.quantity == 70  # a fifth of 80 in steps of 10 was 10
        trade.fill_rest(20)
    fill(target)
    if persons is not None:
        reject(persons)
    assert trade.shown == (left, D("1.112"))
    trade.hit_and_fill()
    assert trade.position.quantity == 0
