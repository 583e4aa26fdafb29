"""A closed position says who or what closed it: a signal, a person, a halt, a limit, a rule."""

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal as D

import pytest

from brokers.types import CloseCause
from common.db.sql import rows
from common.permissions import Role
from connections.models import ExecutionConnection
from connections.services import set_kill_switch
from execution.exits.legs import CLOSERS
from execution.exits.orders import next_leg
from execution.monitoring.halt_actions import carry_out_halts
from execution.monitoring.pending_actions import process_pending_actions
from execution.monitoring.stop_rules import StopRuleMonitor
from execution.monitoring.tick_monitor import TickMonitor
from execution.reports.close_reasons import close_reason_sql
from execution.runtime.trading_runtime import TradingRuntime
from execution.services import cancel_orders, close_position
from positions.close_reasons import CLOSES, TARGETS, CloseReason, close_of
from positions.models import ExecutionPosition
from signals.models import Feed
from signals.reading.intake import MAX_TARGETS
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


@pytest.mark.parametrize("closed_at", [1, 2])
def test_target_that_closed_it_is_numbered(
    alice: ExecutionConnection, feed: Feed, closed_at: int
) -> None:
    prices = [D("1.11"), D("1.12")]
    parts = [D("0.5"), D("0.5")] if closed_at == 2 else [D(1)]
    position = factories.filled(
        factories.signal(feed, target_prices=prices[:closed_at], target_fractions=parts)
    )
    ExecutionPosition.objects.update(tp_guardian="ENGINE")
    for price in prices[:closed_at]:
        TickMonitor().process_quotes(source(alice), quotes_of(str(price)))
        factories.fill_all()
    position.refresh_from_db()
    assert (position.quantity, position.close_reason) == (0, f"target_{closed_at}")
    assert position.get_close_reason_display() == f"Target {closed_at}"


@pytest.mark.parametrize(
    ("leg", "reason"),
    [
        ("tp-1", "target_1"), ("tp-2.3", "target_2"), ("tp-10+2", "target_10"), ("tp", "tp"),
        ("tp-11", "tp"), ("tp-0", "tp"), ("external-2", "external_close"), ("other", "manual"),
        ("expiry-1", "expiry"), ("stopout-2", "stop_out"),
    ],
)  # fmt: skip
def test_reason_follows_from_the_leg(leg: str, reason: str) -> None:
    (row,) = rows(f"SELECT {close_reason_sql('%(leg)s::text', '0', '0')} AS reason", {"leg": leg})
    assert row.reason == reason


@pytest.mark.parametrize(
    ("is_reversal", "reason"), [(False, CloseReason.SIGNAL), (True, CloseReason.REVERSE)]
)
def test_close_of_a_reversal_says_so(
    alice: ExecutionConnection, feed: Feed, is_reversal: bool, reason: CloseReason
) -> None:
    position = factories.filled(factories.signal(feed))
    factories.close_signal(position.signal, is_reversal=is_reversal)
    factories.fill_all()
    position.refresh_from_db()
    assert (position.quantity, position.close_reason) == (0, reason)


def test_table_has_each_reason_once_with_its_texts() -> None:
    assert list(CLOSES) == list(CloseReason)
    assert all(close.leg and close.sentence and close.phrase for close in CLOSES.values())
    assert len(TARGETS) == MAX_TARGETS
    assert max(map(len, CloseReason.values)) <= 14  # of the column
    assert (close_of("later"), close_of("")) == (None, None)


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
    assert len(set(CLOSERS)) == len(CLOSERS)
    for closer in CLOSERS:
        first = next_leg(closer, [])
        assert (first, next_leg(closer, [first])) == (f"{closer}-1", f"{closer}-2")
        assert not [other for other in CLOSERS if other != closer and first.startswith(other)]


@pytest.mark.parametrize(
    ("cause", "leg", "reason", "sentence"),
    [
        (CloseCause.EXPIRY, "expiry-1", CloseReason.EXPIRY, "its contract expired"),
        (CloseCause.STOP_OUT, "stopout-1", CloseReason.STOP_OUT, "stop-out or liquidation"),
        (CloseCause.EXTERNAL, "external-1", CloseReason.EXTERNAL, "Closed by its owner"),
    ],
)
def test_close_by_the_broker_is_not_blamed_on_the_owner(
    alice: ExecutionConnection, feed: Feed, cause: CloseCause, leg: str, reason: CloseReason,
    sentence: str,
) -> None:  # fmt: skip
    position = factories.filled(factories.signal(feed))
    entry = factories.order(leg="entry")
    report = replace(
        factories.fill_report(entry, 100, "made-by-the-broker"),
        broker_order_id="theirs", close_cause=cause,
    )  # fmt: skip
    for _ in range(2):  # delivered twice
        factories.apply(report)
    position.refresh_from_db()
    assert (position.quantity, position.close_reason) == (0, reason)
    assert [one.leg for one in position.exits.all()] == [leg]
    (payload,) = factories.events("position.closed")
    closed = close_of(payload["reason"])
    assert closed is not None
    assert sentence in closed.sentence
