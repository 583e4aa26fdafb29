"""Break-even and trailing rules of open positions, from the preset to the broker's stop."""

from dataclasses import replace
from decimal import Decimal as D
from typing import Any

import pytest
from django.db import OperationalError
from django.template.loader import render_to_string

from brokers.base import Rejected
from brokers.types import Quote
from common.clocks import market_now
from common.db.sql import rows, run
from common.reason_codes import Code
from connections.models import ExecutionConnection, Instrument, Subscription, TradingPreset
from execution.monitoring import stop_rules
from execution.monitoring.pending_actions import process_pending_actions
from execution.monitoring.stop_rules import StopRuleMonitor, judge_due
from execution.monitoring.tick_monitor import TickMonitor
from execution.runtime.trading_runtime import TradingRuntime
from execution.services import modify_position
from positions.api import PositionSerializer
from positions.models import ExecutionPosition, StopRule
from positions.stop_rules import judge
from prices.models import PriceBar
from signals.models import Feed, Signal
from tests.execution import factories
from tests.execution.fake_broker import FakeBroker
from tests.execution.monitoring.held_orders import bars
from tests.execution.monitoring.test_tick_monitor import exits, lock, source

pytestmark = pytest.mark.django_db
BREAK_EVEN = {"break_even_profit": D(20)}
TRAILING = {"trailing_distance": D(30), "trailing_step": D(5)}


def quotes_of(*bids: str, pair: str = "EUR/USD") -> list[Quote]:
    return [Quote(pair, D(bid), D(bid) + D("0.0001"), market_now()) for bid in bids]


def preset(of: ExecutionConnection, **rule: Any) -> None:
    assert of.preset_id is not None
    TradingPreset.objects.filter(pk=of.preset_id).update(**rule)


def bought(feed: Feed, *, ago: float = 1.0, **fields: Any) -> ExecutionPosition:
    """A buy of 100 at 1.1, stop 1.09, its rule judged at a bid of 1.0999.

    ago: how old its rule is, in seconds. A price counts if it came later, and later by less than
    what its judgement takes is not surely later.
    """
    position = factories.filled(factories.signal(feed, **fields))
    judge_due()
    run("UPDATE positions_stoprule SET created_at = created_at - make_interval(secs => %s),"
        " water_mark_at = water_mark_at - make_interval(secs => %s) WHERE position_id = %s",
        (ago, ago, position.pk))  # fmt: skip
    return position


def stop_of(position: ExecutionPosition) -> D | None:
    position.refresh_from_db()
    stop: D | None = position.sl
    return stop


def rule_of(position: ExecutionPosition) -> StopRule:
    return StopRule.objects.get(position=position)


def let_move(position: ExecutionPosition) -> None:
    """Let the time between two moves pass."""
    run("UPDATE positions_stoprule SET moved_at = moved_at - interval '1 hour'")


# ---- which rule a position gets ------------------------------------------------------------------
def test_position_without_a_rule_has_no_row(alice: ExecutionConnection, feed: Feed) -> None:
    position = bought(feed)
    assert not StopRule.objects.exists()
    assert position.stop_moves_at is None


@pytest.mark.parametrize(
    ("of_signal", "of_subscription", "of_preset", "distance", "origin"),
    [
        (None, None, 30, 30, "PRESET"),
        (None, 20, 30, 20, "SUBSCRIPTION"),
        (40, 20, 30, 40, "SIGNAL"),
        (40, None, None, 40, "SIGNAL"),
        (0, 20, 30, None, ""),  # switched off
        (None, 0, 30, None, ""),
    ],
)
def test_signals_rule_counts_before_subscription_and_preset(
    alice: ExecutionConnection, feed: Feed, of_signal: int | None, of_subscription: int | None,
    of_preset: int | None, distance: int | None, origin: str,
) -> None:  # fmt: skip
    preset(alice, trailing_distance=of_preset, break_even_profit=D(20))
    Subscription.objects.update(trailing_distance=of_subscription)
    rule = rule_of(bought(feed, trailing_distance=of_signal))
    assert (rule.trailing_distance, rule.trailing_origin) == (distance, origin)
    assert (rule.break_even_profit, rule.break_even_origin) == (D(20), "PRESET")  # on its own


def test_rule_stays_as_it_was_when_the_position_opened(
    alice: ExecutionConnection, feed: Feed
) -> None:
    preset(alice, **TRAILING, trailing_activation=D(40), stop_rule_unit="PIPS")
    position = bought(feed)
    preset(alice, trailing_distance=D(1), trailing_activation=None)
    StopRuleMonitor().process_quotes(source(alice), quotes_of("1.1039"))
    assert stop_of(position) == D("1.09")
    StopRuleMonitor().process_quotes(source(alice), quotes_of("1.104"))
    assert stop_of(position) == D("1.101")


# ---- distances in ATR ----------------------------------------------------------------------------
IN_ATR = {"trailing_distance": D(2), "trailing_step": D("0.5"), "stop_rule_unit": "ATR"}


def test_trailing_in_atr_uses_the_range_when_it_opened(
    alice: ExecutionConnection, feed: Feed
) -> None:
    bars(alice, 15, minutes=60, low="1.1", high="1.101")
    preset(alice, **IN_ATR)
    position = bought(feed)
    rule = rule_of(position)
    assert (rule.atr, rule.waits_for_atr) == (D("0.001"), False)
    assert rule.trailing_text == "trails 2 ATR behind the best price in steps of 0.5"
    assert stop_of(position) == D("1.0979")  # 2 ATR of 0.001 behind the bid
    PriceBar.objects.update(bid_high=D(2))
    let_move(position)
    StopRuleMonitor().process_quotes(source(alice), quotes_of("1.105"))
    assert stop_of(position) == D("1.103")
    let_move(position)
    StopRuleMonitor().process_quotes(source(alice), quotes_of("1.1054"))
    assert stop_of(position) == D("1.103")  # less than half an ATR better
    StopRuleMonitor().process_quotes(source(alice), quotes_of("1.1055"))
    assert stop_of(position) == D("1.1035")


def test_rule_in_atr_waits_for_enough_prices(alice: ExecutionConnection, feed: Feed) -> None:
    bars(alice, 14, minutes=60, low="1.1", high="1.101")
    position = bought(feed, break_even_profit=D(1), break_even_offset=None, stop_rule_unit="ATR")
    rule = rule_of(position)
    assert (rule.atr, rule.waits_for_atr) == (None, True)
    assert rule.due_at is not None
    assert "15 hours of prices" in render_to_string("fillcast/stop_rule_line.html", {"rule": rule})
    StopRuleMonitor().process_quotes(source(alice), quotes_of("1.105"))
    assert stop_of(position) == D("1.09")
    PriceBar.objects.all().delete()
    bars(alice, 15, minutes=60, low="1.1", high="1.101")
    run("UPDATE positions_stoprule SET due_at = clock_timestamp()")
    judge_due()
    assert (rule_of(position).atr, rule_of(position).waits_for_atr) == (D("0.001"), False)
    StopRuleMonitor().process_quotes(source(alice), quotes_of("1.1009"))
    assert stop_of(position) == D("1.09")
    StopRuleMonitor().process_quotes(source(alice), quotes_of("1.101"))
    assert stop_of(position) == D("1.1")


# ---- moved by quotes -----------------------------------------------------------------------------
def test_quote_moves_the_stop_once_with_log_and_event(
    alice: ExecutionConnection, feed: Feed
) -> None:
    preset(alice, **BREAK_EVEN)
    position = bought(feed)
    monitor = StopRuleMonitor()
    assert monitor.process_quotes(source(alice), quotes_of("1.1019")) == []
    assert monitor.process_quotes(source(alice), quotes_of("1.1", "1.102", "1.1015")) == [
        position.pk
    ]
    assert monitor.process_quotes(source(alice), quotes_of("1.103")) == []
    assert StopRuleMonitor().process_quotes(source(alice), quotes_of("1.103")) == []
    assert stop_of(position) == D("1.1")
    rule = rule_of(position)
    assert (rule.moves, rule.moved_by, rule.moved_from, rule.moved_to) == (
        1, "BREAK_EVEN", D("1.09"), D("1.1"),
    )  # fmt: skip
    (line,) = rows(
        "SELECT detail, numbers FROM execution_executionlog WHERE code = 'STOP_TO_BREAK_EVEN'"
    )
    assert line.detail == f"position {position.pk}: stop 1.09 to 1.1"
    (event,) = factories.events("position.stop_moved")
    assert event == {
        "position": position.pk, "rule": "BREAK_EVEN", "stop_before": "1.09", "stop": "1.1",
        "price": "1.102", "best_price": "1.102",
    }  # fmt: skip


def test_sell_trails_the_ask(alice: ExecutionConnection, feed: Feed) -> None:
    preset(alice, **TRAILING)
    position = bought(feed, direction="SELL", sl=D("1.102"))
    let_move(position)
    monitor = StopRuleMonitor()
    monitor.process_quotes(source(alice), quotes_of("1.09841"))  # not a step further
    assert stop_of(position) == D("1.102")
    monitor.process_quotes(source(alice), quotes_of("1.0984"))  # an ask of 1.0985
    assert stop_of(position) == D("1.1015")
    let_move(position)
    monitor.process_quotes(source(alice), quotes_of("1.09791"))
    assert stop_of(position) == D("1.1015")
    monitor.process_quotes(source(alice), quotes_of("1.0979"))
    assert stop_of(position) == D("1.101")


def test_stop_moves_at_most_once_in_its_time(alice: ExecutionConnection, feed: Feed) -> None:
    preset(alice, **TRAILING, stop_move_seconds=60)
    position = bought(feed)
    assert stop_of(position) == D("1.0969")  # 30 pips behind 1.0999
    monitor = StopRuleMonitor()
    assert monitor.process_quotes(source(alice), quotes_of("1.106", "1.105")) == []
    assert judge_due() == []
    run("UPDATE positions_stoprule SET due_at = clock_timestamp(), moved_at = moved_at"
        " - interval '61 s'")  # fmt: skip
    factories.quote(alice, "1.105")
    assert judge_due() == [position.pk]
    assert stop_of(position) == D("1.103")  # behind the best price, of before


def test_prices_from_before_the_position_do_not_count(
    alice: ExecutionConnection, feed: Feed, monkeypatch: pytest.MonkeyPatch
) -> None:
    preset(alice, **BREAK_EVEN)
    monitor = StopRuleMonitor()
    bought(feed)
    with monkeypatch.context() as patched:
        patched.setattr(stop_rules, "rows", _away)
        with pytest.raises(OperationalError):
            monitor.process_quotes(source(alice), quotes_of("1.105"))
    later = bought(feed, ago=0)
    moved = monitor.process_quotes(source(alice), quotes_of("1.1"))
    assert later.pk not in moved
    assert len(moved) == 1  # the first position's price was kept


def _away(*_: object, **__: object) -> list[object]:
    raise OperationalError("the database is away")


@pytest.mark.django_db(transaction=True)
def test_prices_of_a_locked_position_are_judged_by_the_next_call(
    alice: ExecutionConnection, feed: Feed
) -> None:
    preset(alice, **BREAK_EVEN)
    position = bought(feed)
    monitor = StopRuleMonitor()
    with factories.locked_elsewhere(lock(position)):
        assert monitor.process_quotes(source(alice), quotes_of("1.105", "1.101")) == []
    assert monitor.process_quotes(source(alice), []) == [position.pk]


def test_own_stop_trails_and_then_closes(alice: ExecutionConnection, feed: Feed) -> None:
    preset(alice, **TRAILING)
    position = bought(feed, targets=[("1.2", "0.5"), ("1.3", "0.5")])
    ExecutionPosition.objects.update(sl_guardian="ENGINE")
    let_move(position)
    StopRuleMonitor().process_quotes(source(alice), quotes_of("1.11"))
    assert stop_of(position) == D("1.107")
    TickMonitor().process_quotes(source(alice), quotes_of("1.10701"))
    assert exits() == []
    TickMonitor().process_quotes(source(alice), quotes_of("1.107"))
    assert exits() == [("sl", 100)]


# ---- what others change --------------------------------------------------------------------------
def test_stop_that_a_person_loosens_stays(alice: ExecutionConnection, feed: Feed) -> None:
    preset(alice, **TRAILING, stop_move_seconds=1)
    position = bought(feed)
    let_move(position)
    monitor = StopRuleMonitor()
    monitor.process_quotes(source(alice), quotes_of("1.106"))
    assert stop_of(position) == D("1.103")
    modify_position(position.pk, stop_loss=D("1.095"), take_profit=None)
    factories.quote(alice, "1.1059")
    let_move(position)
    assert judge_due() == []
    monitor.process_quotes(source(alice), quotes_of("1.1064"))
    assert stop_of(position) == D("1.095")
    monitor.process_quotes(source(alice), quotes_of("1.1065"))
    assert stop_of(position) == D("1.1035")


def test_modify_signal_makes_the_rule_due_and_is_kept(
    alice: ExecutionConnection, feed: Feed
) -> None:
    preset(alice, **BREAK_EVEN)
    position = bought(feed)
    opened = Signal.objects.get(pk=position.signal_id)
    factories.signal(feed, action="MODIFY", refers_to=opened, sl=D("1.095"))
    assert stop_of(position) == D("1.095")
    judge_due()
    assert stop_of(position) == D("1.095")
    assert rule_of(position).known_stop == D("1.095")
    StopRuleMonitor().process_quotes(source(alice), quotes_of("1.102"))
    assert stop_of(position) == D("1.1")


def test_change_at_the_broker_is_not_replaced_before_it_is_decided(
    alice: ExecutionConnection, feed: Feed
) -> None:
    preset(alice, **BREAK_EVEN)
    position = bought(feed)
    run(
        "INSERT INTO execution_driftitem (connection_id, kind, key, position_id, evidence)"
        " VALUES (%s, 'LEVELS_DIFFER', 'k', %s, '{}')",
        (alice.pk, position.pk),
    )
    monitor = StopRuleMonitor()
    assert monitor.process_quotes(source(alice), quotes_of("1.105")) == []
    run("UPDATE execution_driftitem SET state = 'RESOLVED'")
    run("UPDATE positions_stoprule SET due_at = clock_timestamp()")
    factories.quote(alice, "1.104")
    assert judge_due() == [position.pk]
    assert stop_of(position) == D("1.1")


def test_database_refuses_a_stop_that_goes_back(alice: ExecutionConnection, feed: Feed) -> None:
    preset(alice, **TRAILING)
    position = bought(feed)
    row, prices = _loaded(position), {"EUR/USD": D("1.106")}
    ExecutionPosition.objects.update(sl=D("1.105"))  # since it was loaded
    late = stop_rules._Judged(
        row, judge(replace(row, wait=0.0), best=prices["EUR/USD"], last=prices["EUR/USD"]),
        prices["EUR/USD"],
    )  # fmt: skip
    assert late.judgement.stop == D("1.103")
    assert stop_rules._store([late]) == []
    assert stop_of(position) == D("1.105")


def _loaded(position: ExecutionPosition) -> Any:
    (row,) = rows(stop_rules.LOAD, ([position.pk],))
    return row


# ---- at the broker -------------------------------------------------------------------------------
def test_brokers_stop_follows_by_one_change_for_each_move(
    feed: Feed, broker: FakeBroker, runtime: TradingRuntime
) -> None:
    account = factories.account(
        feed, settings={"native_stops": True}, preset_stop_move_seconds=1, **_prefixed(TRAILING)
    )
    factories.quote(account, "1.09990")
    position = bought(feed)
    assert position.sl_guardian == "BROKER"
    monitor = StopRuleMonitor()
    for bid, stop in (("1.106", "1.103"), ("1.1061", "1.103"), ("1.107", "1.104")):
        let_move(position)
        monitor.process_quotes(source(account), quotes_of(bid))
        assert stop_of(position) == D(stop)
        process_pending_actions()
        position.refresh_from_db()
        assert position.broker_sl == D(stop)
        factories.pass_time(2)
    process_pending_actions()
    changes = [name for name, _ in broker.calls if name == "modify"]
    assert len(changes) == 2  # the first move was replaced before it was sent
    assert position.stop_guardian == "BROKER"


def test_brokers_stop_keeps_its_least_distance(
    feed: Feed, broker: FakeBroker, runtime: TradingRuntime
) -> None:
    Instrument.objects.update(stops_level=D("0.0005"))
    account = factories.account(feed, settings={"native_stops": True}, **_prefixed(BREAK_EVEN))
    position = bought(feed)
    StopRuleMonitor().process_quotes(source(account), quotes_of("1.102", "1.10049"))
    assert stop_of(position) == D("1.09")
    run("UPDATE positions_stoprule SET due_at = clock_timestamp()")
    factories.quote(account, "1.1005")
    assert judge_due() == [position.pk]
    assert stop_of(position) == D("1.1")


@pytest.mark.parametrize(
    ("stops_level", "freeze_level", "too_near", "far_enough"),
    [
        ("0", "0.0005", "1.1005", "1.10051"),  # exactly at the freeze level is within it
        ("0.0003", "0.0005", "1.1005", "1.10051"),  # the larger of both counts
        ("0.0005", "0.0003", "1.10049", "1.1005"),
        ("0.0005", "0.0005", "1.1005", "1.10051"),
    ],
)
def test_break_even_puts_no_stop_within_the_freeze_level(
    feed: Feed, broker: FakeBroker, runtime: TradingRuntime,
    stops_level: str, freeze_level: str, too_near: str, far_enough: str,
) -> None:  # fmt: skip
    Instrument.objects.update(stops_level=D(stops_level), freeze_level=D(freeze_level))
    account = factories.account(feed, settings={"native_stops": True}, **_prefixed(BREAK_EVEN))
    position = bought(feed)
    StopRuleMonitor().process_quotes(source(account), quotes_of("1.102", too_near))
    assert stop_of(position) == D("1.09")
    run("UPDATE positions_stoprule SET due_at = clock_timestamp()")
    factories.quote(account, too_near)
    assert judge_due() == []
    factories.quote(account, far_enough)
    run("UPDATE positions_stoprule SET due_at = clock_timestamp()")
    assert judge_due() == [position.pk]
    assert stop_of(position) == D("1.1")


@pytest.mark.parametrize(
    ("freeze_level", "stop"),
    [("0.00298", "1.103"), ("0.00299", "1.103"), ("0.003", "1.10299"), ("0.004", "1.10199")],
)
def test_trailing_stop_stays_beyond_the_freeze_level(
    feed: Feed, broker: FakeBroker, runtime: TradingRuntime, freeze_level: str, stop: str
) -> None:
    """Its distance is 30 pips: a wider freeze level puts it a tick behind that."""
    Instrument.objects.update(freeze_level=D(freeze_level))
    account = factories.account(feed, settings={"native_stops": True}, **_prefixed(TRAILING))
    position = bought(feed)
    let_move(position)
    StopRuleMonitor().process_quotes(source(account), quotes_of("1.106"))
    assert stop_of(position) == D(stop)


def test_freeze_level_does_not_count_for_a_stop_that_we_monitor(
    alice: ExecutionConnection, feed: Feed
) -> None:
    Instrument.objects.update(freeze_level=D("0.004"))
    preset(alice, **TRAILING)
    position = bought(feed)
    assert position.sl_guardian == "ENGINE"
    let_move(position)
    StopRuleMonitor().process_quotes(source(alice), quotes_of("1.106"))
    assert stop_of(position) == D("1.103")


def test_refused_stop_is_monitored_by_us_and_trails_on(
    feed: Feed, broker: FakeBroker, runtime: TradingRuntime
) -> None:
    account = factories.account(
        feed, settings={"native_stops": True}, preset_stop_move_seconds=1, **_prefixed(TRAILING)
    )
    position = bought(feed)
    broker.on_call = _refuse
    let_move(position)
    StopRuleMonitor().process_quotes(source(account), quotes_of("1.106"))
    process_pending_actions()
    position.refresh_from_db()
    assert (position.sl, position.sl_guardian) == (D("1.103"), "ENGINE")
    let_move(position)
    StopRuleMonitor().process_quotes(source(account), quotes_of("1.107"))
    assert stop_of(position) == D("1.104")


def _refuse() -> None:
    raise Rejected(Code.STOPS_INVALID)


def _prefixed(rule: dict[str, Any]) -> dict[str, Any]:
    return {f"preset_{name}": value for name, value in rule.items()}


# ---- shown ---------------------------------------------------------------------------------------
def test_rule_and_last_move_are_shown(alice: ExecutionConnection, feed: Feed) -> None:
    preset(alice, **BREAK_EVEN, **TRAILING, break_even_offset=D("1.5"))
    position = bought(feed)
    StopRuleMonitor().process_quotes(source(alice), quotes_of("1.0995"))
    position = ExecutionPosition.objects.select_related("stop_rule").get(pk=position.pk)
    shown = PositionSerializer(position).data["stop_rule"]
    assert (shown["trailing_distance"], shown["trailing_origin"]) == ("30", "PRESET")
    assert (shown["water_mark"], shown["moved_to"], shown["moved_by"]) == (
        "1.0999", "1.0969", "TRAILING",
    )  # fmt: skip
    assert shown["last_move"] == "Trailing moved the stop from 1.09 to 1.0969"
    for template in ("fillcast/stop_rule.html", "fillcast/stop_rule_line.html"):
        text = " ".join(render_to_string(template, {"rule": position.rule}).split())
        assert "Break-even at 20 pips profit, 1.5 pips beyond the entry price" in text
        assert "rails 30 pips behind the best price in steps of 5" in text
        assert "Trailing moved the stop from 1.09 to 1.0969" in text
        assert "1.0999" in text


# ---- several targets -----------------------------------------------------------------------------
HALVES = [("1.12", "0.5"), ("1.13", "0.5")]


def test_stop_goes_to_break_even_after_the_first_target(
    alice: ExecutionConnection, feed: Feed
) -> None:
    preset(alice, break_even_target=1)
    position = bought(feed, targets=HALVES)
    assert stop_of(position) == D("1.09")
    TickMonitor().process_quotes(source(alice), quotes_of("1.12"))
    factories.quote(alice, "1.115")
    assert judge_due() == []  # the target is sent, not filled
    factories.fill_all()
    assert judge_due() == [position.pk]
    assert stop_of(position) == D("1.1")
    assert position.quantity == 50


def test_closed_position_is_not_judged_again(alice: ExecutionConnection, feed: Feed) -> None:
    preset(alice, **TRAILING)
    position = bought(feed)
    TickMonitor().process_quotes(source(alice), [])
    factories.close_signal(Signal.objects.get(pk=position.signal_id))
    factories.fill_all()
    judge_due()
    position.refresh_from_db()
    assert position.quantity == 0
    assert rule_of(position).due_at is None


def test_rule_without_a_fresh_price_waits(alice: ExecutionConnection, feed: Feed) -> None:
    preset(alice, **TRAILING)
    factories.filled(factories.signal(feed))
    run("DELETE FROM prices_latestquote")
    assert judge_due() == []
    (row,) = rows("SELECT due_at > clock_timestamp() AS later FROM positions_stoprule")
    assert row.later
