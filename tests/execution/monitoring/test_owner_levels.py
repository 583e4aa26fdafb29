"""What the owner of a position sets by hand: break-even, trailing, and a quantity to close."""

from collections.abc import Callable
from decimal import Decimal as D
from typing import Any

import pytest

from common.errors import ConflictError, InvalidInputError
from common.reason_codes import Code
from connections.models import ExecutionConnection, Instrument
from execution.models import ExecutionLog, Order
from execution.monitoring.stop_rules import StopRuleMonitor, judge_due
from execution.services import (
    close_position,
    end_trailing,
    modify_position,
    move_to_break_even,
    set_trailing,
)
from positions.models import ExecutionPosition, StopRule
from positions.owner_rules import Trailing
from signals.models import Feed
from tests.execution import factories
from tests.execution.monitoring.test_stop_rules import (
    bought,
    let_move,
    preset,
    quotes_of,
    rule_of,
    stop_of,
)
from tests.execution.monitoring.test_tick_monitor import source

pytestmark = pytest.mark.django_db


@pytest.fixture
def position(alice: ExecutionConnection, feed: Feed) -> ExecutionPosition:
    """A buy of 100 at 1.1 with a stop at 1.09; it could be closed at 1.0999."""
    return bought(feed)


def lines(code: Code) -> list[str]:
    found = ExecutionLog.objects.filter(code=code.value).order_by("pk")
    return list(found.values_list("detail", flat=True))


def refused(act: Callable[[], Any]) -> tuple[Code, str]:
    with pytest.raises((InvalidInputError, ConflictError)) as error:
        act()
    return error.value.code, getattr(error.value, "field", "")


# ---- levels --------------------------------------------------------------------------------------
def test_log_states_which_level_moved_from_what_to_what(position: ExecutionPosition) -> None:
    modify_position(position.pk, stop_loss=D("1.095"), take_profit=D("1.12"))
    assert lines(Code.LEVELS_MOVED) == [
        f"position {position.pk}: stop 1.09 to 1.095, target none to 1.12"
    ]


@pytest.mark.parametrize(
    ("stop", "guardian", "code"),
    [
        ("1.09891", "BROKER", Code.LEVEL_TOO_NEAR),  # 9.9 pips of 10
        ("1.0989", "BROKER", None),
        ("1.09891", "ENGINE", None),  # we monitor it, so the broker's distance does not count
    ],
)
def test_level_nearer_than_the_broker_accepts_is_refused(
    position: ExecutionPosition, stop: str, guardian: str, code: Code | None
) -> None:
    Instrument.objects.update(stops_level=D("0.001"))
    ExecutionPosition.objects.update(sl_guardian=guardian)

    def move() -> None:
        modify_position(position.pk, stop_loss=D(stop), take_profit=None)

    if code is None:
        move()
        assert stop_of(position) == D(stop)
    else:
        assert refused(move) == (code, "stop_loss")
        assert stop_of(position) == D("1.09")


# ---- break-even ----------------------------------------------------------------------------------
def test_break_even_moves_the_stop_and_keeps_the_target(
    alice: ExecutionConnection, position: ExecutionPosition
) -> None:
    ExecutionPosition.objects.update(tp=D("1.13"))
    factories.quote(alice, "1.10500")
    assert move_to_break_even(position.pk, offset=D("1.5")) == D("1.10015")
    assert stop_of(position) == D("1.10015")
    assert position.tp == D("1.13")


def test_break_even_of_a_sell_is_below_its_entry(alice: ExecutionConnection, feed: Feed) -> None:
    sold = bought(feed, direction="SELL", sl=D("1.11"))
    entry = sold.entry_price
    factories.quote(alice, "1.09000")
    assert move_to_break_even(sold.pk, offset=D(2), unit="PIPS") == entry - D("0.0002")


def test_break_even_is_refused_while_the_price_is_not_beyond_it(
    position: ExecutionPosition,
) -> None:
    found = refused(lambda: move_to_break_even(position.pk))
    assert found == (Code.BREAK_EVEN_NOT_REACHED, "offset")
    assert stop_of(position) == D("1.09")


def test_break_even_never_moves_a_better_stop_back(
    alice: ExecutionConnection, position: ExecutionPosition
) -> None:
    factories.quote(alice, "1.10500")
    modify_position(position.pk, stop_loss=D("1.103"), take_profit=None)
    assert refused(lambda: move_to_break_even(position.pk))[0] == Code.STOP_IS_BETTER
    assert stop_of(position) == D("1.103")


# ---- trailing ------------------------------------------------------------------------------------
def test_trailing_that_its_owner_sets_follows_from_now_on(
    alice: ExecutionConnection, position: ExecutionPosition
) -> None:
    set_trailing(position.pk, Trailing(D(30), D(5)))
    factories.quote(alice, "1.10400")
    assert judge_due() == [position.pk]
    assert stop_of(position) == D("1.101")
    let_move(position)
    StopRuleMonitor().process_quotes(source(alice), quotes_of("1.10449"))
    assert stop_of(position) == D("1.101")  # less than a step better
    StopRuleMonitor().process_quotes(source(alice), quotes_of("1.1045"))
    assert stop_of(position) == D("1.1015")
    assert rule_of(position).trailing_origin == "OWNER"


def test_trailing_replaces_the_presets_and_forgets_its_best_price(
    alice: ExecutionConnection, feed: Feed
) -> None:
    """A best price of before would put a nearer stop beyond the market, and close at once."""
    preset(alice, trailing_distance=D(300), trailing_step=D(5), break_even_target=2)
    position = bought(feed)
    StopRuleMonitor().process_quotes(source(alice), quotes_of("1.125"))
    assert stop_of(position) == D("1.095")
    factories.quote(alice, "1.10500")
    let_move(position)
    set_trailing(position.pk, Trailing(D(20)))
    judge_due()
    assert stop_of(position) == D("1.103")
    rule = rule_of(position)
    assert (rule.break_even_target, rule.break_even_origin) == (2, "PRESET")
    assert (rule.trailing_distance, rule.trailing_step) == (D(20), None)


def test_ended_trailing_leaves_the_stop_and_a_break_even_rule(
    alice: ExecutionConnection, feed: Feed
) -> None:
    preset(alice, break_even_profit=D(200))
    position = bought(feed)
    set_trailing(position.pk, Trailing(D(30), D(5)))
    factories.quote(alice, "1.10400")
    judge_due()
    end_trailing(position.pk)
    let_move(position)
    StopRuleMonitor().process_quotes(source(alice), quotes_of("1.109"))
    assert stop_of(position) == D("1.101")
    assert rule_of(position).trailing_text == ""
    StopRuleMonitor().process_quotes(source(alice), quotes_of("1.12"))
    judge_due()
    assert stop_of(position) == D("1.101")  # it is better than break-even
    assert rule_of(position).break_even_done


def test_ended_trailing_alone_leaves_no_rule(
    alice: ExecutionConnection, position: ExecutionPosition
) -> None:
    set_trailing(position.pk, Trailing(D(30)))
    judge_due()
    end_trailing(position.pk)
    position.refresh_from_db()
    assert (StopRule.objects.count(), position.stop_moves_at) == (0, None)
    assert refused(lambda: end_trailing(position.pk))[0] == Code.TRAILING_NOT_SET
    assert lines(Code.TRAILING_ENDED) == [
        f"position {position.pk}: trails 30 pips behind the best price"
    ]


@pytest.mark.parametrize(
    ("trailing", "field"),
    [
        (Trailing(D(0)), "distance"),
        (Trailing(D(-1)), "distance"),
        (Trailing(D(100), unit="PERCENT"), "distance"),
        (Trailing(D(5), D(0)), "step"),
        (Trailing(D(5), activation=D(-1)), "activation"),
    ],
)
def test_trailing_that_makes_no_sense_is_refused(
    position: ExecutionPosition, trailing: Trailing, field: str
) -> None:
    assert refused(lambda: set_trailing(position.pk, trailing))[1] == field
    assert not StopRule.objects.exists()


def test_closed_position_takes_no_rule(position: ExecutionPosition) -> None:
    ExecutionPosition.objects.update(quantity=0)
    found = refused(lambda: set_trailing(position.pk, Trailing(D(5))))
    assert found == (Code.STATE_CONFLICT, "")
    assert refused(lambda: move_to_break_even(position.pk))[0] == Code.STATE_CONFLICT


# ---- a quantity to close -------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("quantity", "closed"),
    [("40", 40), ("47", 40), ("80", 80), ("90", 100), ("100", 100)],  # 10 cannot be left
)
def test_quantity_is_closed_in_whole_steps(
    position: ExecutionPosition, quantity: str, closed: int
) -> None:
    Instrument.objects.update(quantity_min=20)
    assert close_position(position.pk, quantity=D(quantity))
    assert Order.objects.exits().get().quantity == closed


@pytest.mark.parametrize(
    ("quantity", "code"),
    [("100.01", Code.EXIT_ABOVE_OPEN), ("9.99", Code.QUANTITY_BELOW_MINIMUM)],
)
def test_quantity_that_cannot_be_closed_is_refused(
    position: ExecutionPosition, quantity: str, code: Code
) -> None:
    found = refused(lambda: close_position(position.pk, quantity=D(quantity)))
    assert found == (code, "quantity")
    assert not Order.objects.exits().exists()


def test_quantity_counts_what_another_exit_closes_already(position: ExecutionPosition) -> None:
    close_position(position.pk, quantity=D(70))
    assert refused(lambda: close_position(position.pk, quantity=D(40)))[0] == Code.EXIT_ABOVE_OPEN
    assert close_position(position.pk, quantity=D(30))
    assert close_position(position.pk, quantity=D(10)) == []
