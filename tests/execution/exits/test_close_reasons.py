"""A closed position says who or what closed it: a signal, a person, a halt, a limit, a rule."""

from collections.abc import Callable
from decimal import Decimal as D

import pytest

from common.permissions import Role
from connections.models import ExecutionConnection
from connections.services import set_kill_switch
from execution.exits.legs import CLOSERS
from execution.exits.orders import next_leg
from execution.monitoring.halt_actions import carry_out_halts
from execution.monitoring.pending_actions import process_pending_actions
from execution.monitoring.stop_rules import StopRuleMonitor
from execution.monitoring.tick_monitor import TickMonitor
from execution.runtime.trading_runtime import TradingRuntime
from execution.services import cancel_orders, close_position
from positions.models import CloseReason, ExecutionPosition
from signals.models import Feed
from tests.connections import make
from tests.execution import factories
from tests.execution.monitoring.test_stop_rules import (
    BREAK_EVEN,
    TRAILING,
    bought,
    let_move,
    preset,
    quotes_of,
)
from tests.execution.monitoring.test_tick_monitor import source
from tests.roles import give

pytestmark = pytest.mark.django_db


def by_signal(position: ExecutionPosition) -> None:
    factories.close_signal(position.signal)


def by_its_owner(position: ExecutionPosition) -> None:
    close_position(position.pk, by=position.connection.user)


def by_an_operator(position: ExecutionPosition) -> None:
    operator = make.user(is_staff=True)
    give(operator, Role.ADMINISTRATOR)
    close_position(position.pk, by=operator)


def by_a_kill_switch(position: ExecutionPosition) -> None:
    set_kill_switch(scope="ALL", mode="REDUCING", reason="test", by=None, flatten=True)
    carry_out_halts()


@pytest.mark.parametrize(
    ("close", "reason"),
    [
        (by_signal, CloseReason.SIGNAL),
        (by_its_owner, CloseReason.OWNER),
        (by_an_operator, CloseReason.OPERATOR),
        (by_a_kill_switch, CloseReason.KILL_SWITCH),
    ],
)
def test_closed_position_says_who_closed_it(
    alice: ExecutionConnection, feed: Feed,
    close: Callable[[ExecutionPosition], None], reason: CloseReason,
) -> None:  # fmt: skip
    position = factories.filled(factories.signal(feed))
    close(position)
    factories.fill_all()
    position.refresh_from_db()
    assert (position.quantity, position.close_reason) == (0, reason)


@pytest.mark.parametrize(
    ("rule", "stop", "reason"),
    [
        (TRAILING, "1.107", CloseReason.TRAILING),
        (BREAK_EVEN, "1.1", CloseReason.BREAK_EVEN),
        ({}, "1.09", CloseReason.SL),
    ],
)
def test_stop_that_a_rule_moved_last_is_that_rules(
    alice: ExecutionConnection, feed: Feed, rule: dict[str, D], stop: str, reason: CloseReason
) -> None:
    preset(alice, **rule)
    position = bought(feed) if rule else factories.filled(factories.signal(feed))
    ExecutionPosition.objects.update(sl_guardian="ENGINE")
    if rule:
        let_move(position)
        StopRuleMonitor().process_quotes(source(alice), quotes_of("1.11"))
    TickMonitor().process_quotes(source(alice), quotes_of(stop))
    factories.fill_all()
    position.refresh_from_db()
    assert (position.quantity, position.close_reason) == (0, reason)


@pytest.mark.parametrize(("halts", "leg"), [(True, "halt-1"), (False, "hand-1")])
def test_fill_of_an_entry_that_is_withdrawn_says_by_whom(
    alice: ExecutionConnection, feed: Feed, halts: bool, leg: str, trading: TradingRuntime
) -> None:
    factories.signal(feed, order_type="LIMIT", open_price=D("1.09"), sl=D("1.08"))
    (outgoing,) = factories.claim_all()
    factories.answer(outgoing, factories.fake_broker().rest(outgoing.request))
    entry = factories.order(leg="entry")
    if halts:
        set_kill_switch(
            scope="ALL", mode="REDUCING", reason="test", by=None, flatten=True, cancel_entries=True
        )
        carry_out_halts()
    else:
        cancel_orders([entry.pk], by=None, then_close=True)
    factories.apply(factories.fill_report(entry, 100, "late"))
    process_pending_actions()
    assert [exit_.leg for exit_ in ExecutionPosition.objects.get().exits.all()] == [leg]


def test_each_closer_has_legs_of_its_own() -> None:
    assert len(set(CLOSERS.values())) == len(CLOSERS)
    for closer in CLOSERS:
        first = next_leg(closer, [])
        assert (first, next_leg(closer, [first])) == (f"{closer}-1", f"{closer}-2")
        assert not [other for other in CLOSERS if other != closer and first.startswith(other)]
