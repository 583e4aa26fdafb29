"""What each mode of the kill switch makes of an entry in each state: under the halt, by cancelling,
and after the release. The sentences are in analytics/orders/halt_texts.py."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal as D
from itertools import product
from typing import Any

import pytest

from analytics.orders.halt_texts import halt_lines, unsent_kinds
from brokers.base import NotSent
from brokers.types import OrderType, Quote
from common.clocks import market_now
from common.db.sql import run
from common.reason_codes import Code
from connections import services as connections
from connections.models import MAX_AGGREGATION_MS, ExecutionConnection, KillSwitch
from connections.services import HaltTarget
from execution.models import Order
from execution.monitoring.halt_actions import HaltImpact, halt_impact
from execution.monitoring.trigger_monitor import TriggerMonitor
from execution.services import execute, process_pending_actions
from signals.models import Approval, Feed, Signal
from signals.services import publish
from tests.execution import factories
from tests.execution.fake_broker import FakeBroker
from tests.sampling import often
from tests.until import until

pytestmark = pytest.mark.usefixtures("inline_commits")
BUY_STOP: dict[str, Any] = {"order_type": "STOP", "stop_price": D("1.105")}
TWAP: dict[str, Any] = {"execution_style": "TWAP", "duration_seconds": 60, "slice_count": 3}
GROUP = "00000000-0000-0000-0000-000000000001"


# ---- the states ---------------------------------------------------------------------------------
def publish_plain(feed: Feed) -> None:
    factories.signal(feed)


def publish_aggregating(feed: Feed) -> None:
    factories.feed_signal(feed)


def publish_deferred(feed: Feed) -> None:
    """An entry that was not sent since its account could not be reached."""
    factories.signal(feed)
    (outgoing,) = factories.claim_all()
    factories.answer(outgoing, NotSent(Code.NOT_CONNECTED))


def publish_held(feed: Feed) -> None:
    factories.signal(feed, **BUY_STOP)
    assert factories.claim_all() == []


def publish_pair(feed: Feed) -> None:
    """Of a pair the buy fires; the sell waits far away."""
    sell = {"direction": "SELL", "stop_price": D("1.05"), "sl": D("1.12")}
    legs = [
        Signal.objects.create(
            feed=feed, currency_pair="EUR/USD", approval=Approval.APPROVED, oco_group=GROUP,
            order_type="STOP", **leg,
        )
        for leg in ({"direction": "BUY", "stop_price": D("1.105"), "sl": D("1.09")}, sell)
    ]  # fmt: skip
    assert publish(legs[-1].pk, by=None)
    assert factories.claim_all() == []


def publish_conditional(feed: Feed) -> None:
    factories.signal(feed, not_before=market_now() + timedelta(seconds=15))
    assert factories.claim_all() == []


def publish_sliced(feed: Feed) -> None:
    """The first slice has filled."""
    factories.signal(feed, **TWAP)
    factories.fill_all()


def by_price(account: ExecutionConnection) -> None:
    assert account.data_connection_id
    quote = Quote("EUR/USD", D("1.2"), D("1.2001"), market_now())
    fired = TriggerMonitor().process_quotes(account.data_connection_id, [quote])
    assert len(fired) == 1
    factories.quote(account, "1.11")


def by_time(account: ExecutionConnection) -> None:
    Signal.objects.exclude(not_before=None).update(not_before=market_now() - timedelta(seconds=1))
    factories.pass_time(20)
    refresh(account)


def refresh(account: ExecutionConnection) -> None:
    factories.quote(account)
    run("UPDATE connections_accountsnapshot SET read_at = clock_timestamp()")


def at_once(account: ExecutionConnection) -> None:
    """Its turn has come already."""


@dataclass(frozen=True)
class State:
    """How an entry gets into a state, and how its moment comes.

    reason: why it waits. kind: as what the impact counts it. others: further entries beside it.
    """

    publish: Callable[[Feed], None]
    come: Callable[[ExecutionConnection], None]
    reason: str = ""
    kind: str = "queued"
    others: int = 0


STATES = {
    "queued": State(publish_plain, at_once),
    "deferred": State(publish_deferred, by_time, "NOT_CONNECTED"),
    "aggregating": State(publish_aggregating, by_time, "AGGREGATION_AWAITED"),
    "held": State(publish_held, by_price, "AWAITING_TRIGGER", "held"),
    "pair": State(publish_pair, by_price, "AWAITING_TRIGGER", "held", others=1),
    "conditional": State(publish_conditional, by_time, "AWAITING_CONDITION", "held"),
    "sliced": State(publish_sliced, by_time, "SLICE_SCHEDULED", "slices", others=1),
}
WAITING = [name for name in STATES if name != "queued"]


@pytest.fixture(autouse=True)
def without_stops(broker: FakeBroker) -> None:
    """The broker takes market and limit orders: the engine holds the others."""
    broker.order_types = frozenset({OrderType.MARKET, OrderType.LIMIT})


@pytest.fixture
def account(feed: Feed, broker: FakeBroker, request: pytest.FixtureRequest) -> ExecutionConnection:
    name = request.node.callspec.params["state"]
    size = {"preset_fixed_quantity": D(90)} if name == "sliced" else {}
    window = MAX_AGGREGATION_MS if name == "aggregating" else 0
    return factories.account(feed, snapshot_position_mode="NETTING", aggregation_ms=window, **size)


def entered(state: str, feed: Feed) -> Order:
    """Return the entry whose moment will come, in its state."""
    STATES[state].publish(feed)
    if state == "aggregating":
        assert factories.claim_all() == []
    order = Order.objects.filter(status="PENDING", position=None).order_by("pk")[0]
    assert order.reason == STATES[state].reason
    return order


def halt(mode: str, **fields: Any) -> KillSwitch:
    given = {"scope": "ALL", "reason": "test", "by": None, "mode": mode}
    return connections.set_kill_switch(**{**given, **fields})


def state_of(order: Order) -> tuple[str, str]:
    order.refresh_from_db()
    return order.status, order.reason


CODES = {"REDUCING": "ENTRIES_HALTED", "HALTED": "TRADING_HALTED"}


# ---- without cancelling -------------------------------------------------------------------------
# Each state in one mode; `make test-all` takes each in both.
@pytest.mark.parametrize(("mode", "state"), often(product(CODES, STATES), every=2))
def test_entry_whose_moment_comes_under_a_halt_is_denied_for_good(
    account: ExecutionConnection,
    feed: Feed,
    trading: Any,
    broker: FakeBroker,
    state: str,
    mode: str,
) -> None:
    order = entered(state, feed)
    broker.calls.clear()
    switch = halt(mode)
    STATES[state].come(account)
    execute(factories.pending())
    assert state_of(order) == ("DENIED", CODES[mode])
    connections.release_kill_switch(switch.pk, by=None)
    factories.pass_time(60)
    refresh(account)
    execute(factories.pending())
    assert trading.dispatcher.wait_idle(60)
    assert broker.calls == []
    assert state_of(order) == ("DENIED", CODES[mode])


@pytest.mark.parametrize("state", WAITING)
@pytest.mark.parametrize("mode", CODES)
def test_entry_whose_moment_comes_after_the_release_goes_on(
    account: ExecutionConnection, feed: Feed, state: str, mode: str
) -> None:
    order = entered(state, feed)
    switch = halt(mode)
    assert factories.claim_all() == []  # a look under the halt ends nothing
    assert state_of(order) == ("PENDING", STATES[state].reason)
    connections.release_kill_switch(switch.pk, by=None)
    STATES[state].come(account)
    (outgoing,) = factories.claim_all()
    assert outgoing.request.order_id == order.pk


SCOPES = ["FEED", "USER", "CONNECTION", "BROKER_TYPE", "SYMBOL"]


@pytest.mark.parametrize(
    ("state", "scope"), often(product(["held", "conditional", "sliced"], SCOPES), every=2)
)
def test_each_scope_stops_what_waits_in_it(
    account: ExecutionConnection, feed: Feed, state: str, scope: str
) -> None:
    order = entered(state, feed)
    names: dict[str, dict[str, Any]] = {
        "FEED": {"feed_id": feed.pk}, "USER": {"user_id": account.user_id},
        "CONNECTION": {"connection_id": account.pk}, "BROKER_TYPE": {"broker_type": account.type},
        "SYMBOL": {"pair": "EUR/USD"},
    }  # fmt: skip
    halt("REDUCING", scope=scope, **names[scope])
    STATES[state].come(account)
    assert factories.claim_all() == []
    assert state_of(order) == ("DENIED", "ENTRIES_HALTED")


def test_leg_that_fires_under_a_halt_ends_its_pair(alice: ExecutionConnection, feed: Feed) -> None:
    publish_pair(feed)
    buy, sell = Order.objects.order_by("pk")
    halt("REDUCING")
    by_price(alice)
    factories.claim_all()
    Order.objects.filter(status="PENDING").update(due_at=market_now())
    factories.claim_all()
    assert state_of(buy) == ("DENIED", "ENTRIES_HALTED")
    assert state_of(sell) == ("CANCELLED", "OCO_OTHER_LEG_TRIGGERED")


# ---- with cancelling ----------------------------------------------------------------------------
@pytest.mark.parametrize(("mode", "state"), often(product(CODES, STATES), every=2))
def test_halt_that_cancels_ends_every_unsent_entry(
    account: ExecutionConnection, feed: Feed, trading: Any, state: str, mode: str
) -> None:
    order = entered(state, feed)
    switch = halt(mode, cancel_entries=True)
    process_pending_actions()
    assert state_of(order) == ("CANCELLED", "OWNER_CANCELLED")
    assert not Order.objects.filter(position=None, done_at=None).exists()
    connections.release_kill_switch(switch.pk, by=None)
    factories.pass_time(60)
    assert factories.claim_all() == []


@pytest.mark.parametrize("mode", CODES)
def test_halt_that_cancels_asks_brokers_in_both_modes(
    alice: ExecutionConnection, feed: Feed, broker: FakeBroker, trading: Any, mode: str
) -> None:
    """HALTED sends no order; a cancel only takes one back."""
    factories.signal(feed, order_type="LIMIT", open_price=D("1.09"), sl=D("1.08"))
    (outgoing,) = factories.claim_all()
    factories.answer(outgoing, broker.rest(outgoing.request))
    halt(mode, cancel_entries=True)
    process_pending_actions()
    until(lambda: Order.objects.get(pk=outgoing.request.order_id).status == "CANCELLED")


# ---- what is shown before -----------------------------------------------------------------------
@pytest.mark.parametrize("state", STATES)
def test_impact_counts_each_state_as_what_becomes_of_it(
    account: ExecutionConnection, feed: Feed, state: str
) -> None:
    entered(state, feed)
    impact = halt_impact(HaltTarget("ALL"))
    counts = {"queued": impact.queued, "held": impact.held, "slices": impact.slices}
    expected = dict.fromkeys(counts, 0) | {STATES[state].kind: 1 + STATES[state].others}
    assert counts == expected
    assert impact.waiting == 1 + STATES[state].others
    worth = {"sliced": {"USD": D("66.00")}, "deferred": {"USD": D("110.00")}}
    amounts = {"queued": impact.queued_amounts, "held": impact.held_amounts,
               "slices": impact.slice_amounts}  # fmt: skip
    has_size = {STATES[state].kind: worth[state]} if state in worth else {}
    assert {kind: worth for kind, worth in amounts.items() if worth} == has_size


@pytest.mark.parametrize("state", ["sliced"])
def test_impact_has_the_money_of_each_kind_separately(
    account: ExecutionConnection, feed: Feed, state: str
) -> None:
    """Slices, one entry that is next, and two that are held: no kind shows another one's money."""
    entered(state, feed)
    publish_held(feed)
    publish_conditional(feed)
    publish_plain(feed)
    orders = Order.objects.filter(status="PENDING", position=None)
    price = {"expected_price": D("1.1"), "conversion_rate": D(1)}
    orders.filter(reason="").update(quantity=D(7), **price)
    orders.filter(reason__startswith="AWAITING_").update(quantity=D(20), **price)
    impact = halt_impact(HaltTarget("ALL"))
    assert (impact.queued, impact.held, impact.slices) == (1, 2, 2)
    assert impact.queued_amounts == {"USD": D("7.70")}
    assert impact.held_amounts == {"USD": D("44.00")}
    assert impact.slice_amounts == {"USD": D("66.00")}
    assert unsent_kinds(impact) == (
        " (1 queued to be sent: 7.70 USD; 2 wait for a trigger or a condition: 44.00 USD;"
        " 2 later slices: 66.00 USD)"
    )


IMPACT = HaltImpact(
    waiting=9, held=2, slices=3, working=5, exits=1, positions=6,
    open_amounts={"EUR": D("10.5"), "USD": D(1200)}, working_amounts={"USD": D(70)},
    queued_amounts={"USD": D(40)}, held_amounts={"USD": D(50)}, slice_amounts={"USD": D(30)},
)  # fmt: skip


def shown(mode: str, *, cancels: bool = False, flattens: bool = False) -> str:
    lines = halt_lines(IMPACT, mode=mode, cancels=cancels, flattens=flattens)
    return "\n".join(line.text for line in lines)


def test_lines_name_each_kind_with_its_count_and_money() -> None:
    assert shown("REDUCING") == (
        "Entries queued to be sent: 4 (40.00 USD). None is sent: each is denied when its turn"
        " comes.\n"
        "Entries that wait for a trigger or a condition: 2 (50.00 USD). They wait on. One that"
        " fires while the halt is set is denied for good; the others are sent when they fire after"
        " the release.\n"
        "Later slices of entries that have begun: 3 (30.00 USD). One that is due while the halt is"
        " set is denied and ends its entry.\n"
        "Entries at brokers: 5 (70.00 USD). They stay there and may still fill.\n"
        "Open positions: 6 (10.50 EUR, 1,200.00 USD). They stay open, and their stops and targets"
        " keep working.\n"
        "Exit orders that have not ended: 1. They go on as usual."
    )


def test_lines_of_halted_state_what_is_held_back() -> None:
    text = shown("HALTED")
    assert "Only stops and targets that brokers hold work meanwhile." in text
    found = "Exit orders that have not ended: 1."
    assert f"{found} Those at brokers stay there; no other is sent" in text


def test_lines_of_a_halt_that_cancels_and_closes() -> None:
    text = shown("REDUCING", cancels=True, flattens=True)
    assert "Entries queued to be sent: 4 (40.00 USD). None is sent: each is cancelled." in text
    assert "trigger or a condition: 2 (50.00 USD). They are cancelled." in text
    assert "begun: 3 (30.00 USD). They are cancelled." in text
    assert "Each broker is asked to cancel; what fills first is closed too." in text
    assert "Open positions: 6 (10.50 EUR, 1,200.00 USD). They are closed at the market." in text
