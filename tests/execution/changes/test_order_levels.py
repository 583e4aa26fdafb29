"""Stop and target of one entry that has not filled are changed, and count from then on."""

from decimal import Decimal as D
from typing import Any

import pytest

from brokers.base import NotSent
from common.db.sql import run
from common.errors import ConflictError, InvalidInputError
from common.reason_codes import Code
from connections.models import ExecutionConnection, HaltMode, TradingPreset
from connections.services import RouteAccount, set_route
from execution.changes.changeable_orders import coming_levels
from execution.changes.order_changes import change_order
from execution.models import EntryChange, Order
from execution.monitoring.level_monitor import scan_levels
from execution.monitoring.pending_actions import process_pending_actions
from execution.runtime.trading_runtime import TradingRuntime
from execution.submission.change_terms import WantedTerms
from positions.models import ExecutionPosition
from signals.models import Feed
from tests.connections import make
from tests.execution import factories
from tests.execution.fake_broker import FakeBroker

pytestmark = pytest.mark.django_db
LIMIT: dict[str, Any] = {"order_type": "LIMIT", "open_price": D("1.095")}


@pytest.fixture
def native(feed: Feed, broker: FakeBroker, runtime: TradingRuntime) -> ExecutionConnection:
    """An account whose broker holds stop and target."""
    return factories.account(feed, settings={"native_stops": True})


def waiting(feed: Feed, **fields: Any) -> Order:
    return Order.objects.get(signal=factories.signal(feed, **LIMIT | fields), leg="entry")


def working(feed: Feed, **fields: Any) -> Order:
    """A buy limit of 100 at 1.095 with the stop 1.09, which works at its broker."""
    order = waiting(feed, **fields)
    [outgoing] = factories.claim_all()
    factories.answer(outgoing, factories.fake_broker().rest(outgoing.request))
    order.refresh_from_db()
    return order


def change(of: Order, **wanted: str) -> EntryChange:
    terms: dict[str, Any] = {name: D(text) for name, text in wanted.items()}
    return change_order(of.pk, WantedTerms(**terms))


def execute(quantity: str = "100") -> ExecutionPosition:
    broker = factories.fake_broker()
    factories.apply(broker.execute(broker.tickets[0], D(quantity)))
    return ExecutionPosition.objects.get()


# ---- not at the broker yet -----------------------------------------------------------------------
def test_waiting_entry_is_sized_and_sent_with_its_own_levels(
    native: ExecutionConnection, feed: Feed
) -> None:
    TradingPreset.objects.update(sizing_mode="RISK_AMOUNT", risk_amount=D(1))
    order = waiting(feed, targets=[("1.11", "1")])
    done = change(order, stop_loss="1.09250", take_profit="1.105")
    assert (done.state, done.old_stop_loss, done.old_take_profit) == ("DONE", D("1.09"), D("1.11"))
    [outgoing] = factories.claim_all()
    sent = outgoing.request
    assert (sent.stop_loss, sent.take_profit) == (D("1.09250"), D("1.10500"))
    assert sent.quantity == 400  # 1 / 0.0025
    factories.answer(outgoing, factories.fake_broker().rest(sent))
    position = execute("400")
    assert (position.sl, position.tp) == (D("1.0925"), D("1.105"))
    assert (position.sl_guardian, position.tp_guardian) == ("BROKER", "BROKER")
    assert order.signal is not None
    assert order.signal.sl == D("1.09")  # other accounts keep the signal's


def test_target_of_a_signal_without_targets_closes_all(
    alice: ExecutionConnection, feed: Feed
) -> None:
    order = working(feed)
    change(order, take_profit="1.099")
    position = execute()
    assert (position.tp, position.tp_guardian) == (D("1.099"), "ENGINE")
    factories.quote(alice, "1.0995")
    [exit_id] = scan_levels()
    exit_ = Order.objects.get(pk=exit_id)
    assert (exit_.leg, exit_.quantity) == ("tp-1", D(100))


def test_first_of_several_targets_is_changed_and_the_others_stay(
    alice: ExecutionConnection, feed: Feed
) -> None:
    order = waiting(feed, targets=[("1.1", "0.5"), ("1.11", "0.5")])
    with pytest.raises(InvalidInputError) as refusal:
        change(order, take_profit="1.11")  # not before the second
    assert (refusal.value.code, refusal.value.field) == ("TARGET_WRONG_SIDE", "take_profit")
    change(order, take_profit="1.099")
    [outgoing] = factories.claim_all()
    factories.answer(outgoing, factories.fake_broker().rest(outgoing.request))
    position = execute()
    assert position.tp == D("1.099")
    factories.quote(alice, "1.0995")
    scan_levels()
    exit_ = Order.objects.get(leg="tp-1")
    assert exit_.quantity == D(50)
    factories.fill_all()
    position.refresh_from_db()
    assert (position.tp, position.quantity) == (D("1.11"), D(50))


# ---- at the broker -------------------------------------------------------------------------------
def test_working_entry_opens_with_its_new_stop_which_the_broker_then_gets(
    native: ExecutionConnection, feed: Feed, broker: FakeBroker
) -> None:
    order = working(feed)
    change(order, stop_loss="1.092")
    assert broker.calls == []  # nothing to ask the broker for until it has filled
    order.refresh_from_db()
    assert (order.status, order.stop_loss, order.risk) == ("SUBMITTED", D("1.09"), D("0.3"))
    [event] = factories.events("order.changed")
    assert (event["old_stop_loss"], event["stop_loss"]) == ("1.09", "1.092")
    assert factories.log_codes(order.pk)[-1] == ("ORDER_CHANGED", "SUBMITTED")
    position = execute()
    assert (position.sl, position.broker_sl) == (D("1.092"), D("1.09"))
    assert position.stop_guardian == "ENGINE"  # until the broker has it
    process_pending_actions()
    position.refresh_from_db()
    assert (position.broker_sl, position.stop_guardian) == (D("1.092"), "BROKER")
    assert Order.objects.count() == 1


def test_partly_filled_entry_moves_the_levels_of_its_position(
    native: ExecutionConnection, feed: Feed
) -> None:
    order = working(feed)
    assert execute("40").sl == D("1.09")
    change(order, stop_loss="1.092")
    assert ExecutionPosition.objects.get().sl == D("1.092")
    position = execute("60")
    assert (position.quantity, position.sl) == (D(100), D("1.092"))
    with pytest.raises(ConflictError) as refusal:
        change(order, stop_loss="1.093")
    assert refusal.value.code == "ORDER_ENDED"


def test_stop_that_the_market_has_passed_is_refused_with_the_entrys_part(
    native: ExecutionConnection, feed: Feed
) -> None:
    order = working(feed)
    execute("40")
    factories.quote(native, "1.0915")
    with pytest.raises(InvalidInputError):
        change(order, stop_loss="1.092")
    order.refresh_from_db()
    assert order.own_stop_loss is None
    assert not EntryChange.objects.exists()


@pytest.mark.parametrize(
    ("wanted", "code", "field"),
    [
        ({"stop_loss": "1.095"}, "STOP_WRONG_SIDE", "stop_loss"),
        ({"take_profit": "1.095"}, "TARGET_WRONG_SIDE", "take_profit"),
        ({"stop_loss": "0"}, "FIELD_INVALID", "stop_loss"),
        ({"stop_loss": "1.09"}, "NOTHING_TO_CHANGE", ""),
    ],
)
def test_levels_that_do_not_fit_are_refused(
    alice: ExecutionConnection, feed: Feed, wanted: dict[str, str], code: str, field: str
) -> None:
    for order in (working(feed), waiting(feed)):
        with pytest.raises((InvalidInputError, ConflictError)) as refusal:
            change(order, **wanted)
        assert (refusal.value.code, getattr(refusal.value, "field", "")) == (code, field)
    assert not EntryChange.objects.exists()


def test_stop_further_away_passes_the_limits_and_a_nearer_one_always_may(
    alice: ExecutionConnection, feed: Feed
) -> None:
    order = working(feed)
    TradingPreset.objects.update(max_portfolio_risk_percent=D("0.006"))  # 0.6 of 10,000
    with pytest.raises(ConflictError) as refusal:
        change(order, stop_loss="1.088")  # 0.7
    assert refusal.value.code == "PORTFOLIO_RISK"
    assert change(order, stop_loss="1.0891").raises_risk  # 0.59
    make.kill_switch(HaltMode.REDUCING, scope="ALL")
    with pytest.raises(ConflictError) as refusal:
        change(order, stop_loss="1.089")
    assert refusal.value.code == "ENTRIES_HALTED"
    assert not change(order, stop_loss="1.093").raises_risk
    order.refresh_from_db()
    assert (order.own_stop_loss, order.risk) == (D("1.093"), D("0.2"))


# ---- a smaller quantity with a wider stop --------------------------------------------------------
@pytest.fixture
def limited(alice: ExecutionConnection, feed: Feed, runtime: TradingRuntime) -> Order:
    """100 with a risk of 0.5; the account's limit is 0.6."""
    order = working(feed)
    TradingPreset.objects.update(max_portfolio_risk_percent=D("0.006"))
    return order


def outcomes() -> list[tuple[D | None, str, str]]:
    found = EntryChange.objects.order_by("pk")
    return [(one.stop_loss, one.state, one.code) for one in found]


def settle() -> None:
    for _ in range(3):
        process_pending_actions()
        factories.pass_time(2)


def test_smaller_quantity_comes_first_and_the_wider_stop_counts_once_it_is_confirmed(
    limited: Order, broker: FakeBroker
) -> None:
    requested = change(limited, quantity="50", stop_loss="1.085")  # 0.5 of both; 1.0 with 100
    assert (requested.state, requested.quantity, requested.risk) == ("REQUESTED", D(50), D("0.5"))
    assert requested.detail == "Then: stop loss 1.09 to 1.085 once the quantity is 50."
    limited.refresh_from_db()
    assert (limited.own_stop_loss, limited.risk) == (None, D("0.5"))
    assert coming_levels(limited)[0] == D("1.09")
    settle()
    limited.refresh_from_db()
    assert (limited.quantity, limited.own_stop_loss, limited.risk) == (
        D(50), D("1.085"), D("0.5"),
    )  # fmt: skip
    assert outcomes() == [(D("1.085"), "DONE", ""), (None, "DONE", "")]
    assert execute("50").sl == D("1.085")


def test_wider_stop_is_refused_with_the_quantity(limited: Order, broker: FakeBroker) -> None:
    """Also if a limit would allow it by then."""
    change(limited, quantity="50", stop_loss="1.085")
    broker.changing = "refuse"
    TradingPreset.objects.update(max_portfolio_risk_percent=D(5))
    settle()
    limited.refresh_from_db()
    assert (limited.quantity, limited.own_stop_loss, limited.risk) == (D(100), None, D("0.5"))
    assert outcomes()[0] == (D("1.085"), "REFUSED", "CHANGE_REFUSED")
    assert outcomes()[1] == (None, "REFUSED", "PRICE_INVALID")  # of the broker
    assert "The quantity stayed 100" in factories.log_texts(limited.pk, "CHANGE_REFUSED")[-1]


def test_both_together_are_denied_beyond_the_limit_and_nothing_is_stored(limited: Order) -> None:
    with pytest.raises(ConflictError) as refusal:
        change(limited, quantity="70", stop_loss="1.055")  # 2.8; 4.0 with 100
    assert (refusal.value.code, refusal.value.numbers["value"]) == ("PORTFOLIO_RISK", "0.03")
    assert not EntryChange.objects.exists()


def test_wider_stop_that_waits_moves_the_position_of_a_part_afterwards(
    limited: Order, broker: FakeBroker
) -> None:
    execute("20")
    limited.refresh_from_db()
    change(limited, quantity="50", stop_loss="1.085", take_profit="1.2")
    position = ExecutionPosition.objects.get()
    assert (position.sl, position.tp) == (D("1.09"), D("1.2"))
    with pytest.raises(ConflictError) as refusal:
        change(limited, stop_loss="1.08")
    assert refusal.value.code == "CHANGE_OPEN"
    settle()
    position.refresh_from_db()
    assert (position.sl, position.tp) == (D("1.085"), D("1.2"))


def test_entry_that_fills_first_keeps_its_stop(limited: Order, broker: FakeBroker) -> None:
    change(limited, quantity="50", stop_loss="1.085")
    position = execute("100")
    settle()
    position.refresh_from_db()
    assert position.sl == D("1.09")
    assert outcomes()[0] == (D("1.085"), "REFUSED", "ORDER_ENDED")


def test_stop_of_a_later_modify_replaces_one_that_waits(limited: Order, broker: FakeBroker) -> None:
    broker.changing = "silent"
    change(limited, quantity="50", stop_loss="1.085")
    process_pending_actions()
    assert limited.signal is not None
    of: dict[str, Any] = {"action": "MODIFY", "refers_to": limited.signal, "direction": "BUY"}
    factories.signal(limited.signal.feed, **of, sl=D("1.088"), open_price=D("1.094"))
    assert outcomes()[0][1:] == ("REFUSED", "CHANGE_REPLACED")
    broker.changing = "take"
    settle()
    settle()
    limited.refresh_from_db()
    assert coming_levels(limited)[0] == D("1.088")
    assert (limited.quantity, limited.limit_price) == (D(50), D("1.094"))


def test_price_of_a_modify_joins_a_stop_that_waits(limited: Order, broker: FakeBroker) -> None:
    change(limited, quantity="50", stop_loss="1.085")
    assert limited.signal is not None
    of: dict[str, Any] = {
        "action": "MODIFY",
        "refers_to": limited.signal,
        "direction": "BUY",
        "sl": None,
    }
    factories.signal(limited.signal.feed, **of, open_price=D("1.094"))
    settle()
    settle()
    limited.refresh_from_db()
    assert (limited.quantity, limited.limit_price, limited.own_stop_loss) == (
        D(50), D("1.094"), D("1.085"),
    )  # fmt: skip


def test_price_and_stop_together_both_fit_the_present_price(
    alice: ExecutionConnection, feed: Feed, broker: FakeBroker, runtime: TradingRuntime
) -> None:
    """The broker may refuse the price: the levels count all the same."""
    order = working(feed)
    with pytest.raises(InvalidInputError) as refusal:
        change(order, limit_price="1.098", stop_loss="1.096")
    assert refusal.value.code == "STOP_WRONG_SIDE"
    assert not EntryChange.objects.exists()
    requested = change(order, limit_price="1.093", stop_loss="1.091")
    assert (requested.state, requested.old_risk) == ("REQUESTED", D("0.4"))
    broker.changing = "refuse"
    process_pending_actions()
    order.refresh_from_db()
    assert (order.limit_price, order.own_stop_loss, order.risk) == (
        D("1.095"), D("1.091"), D("0.4"),
    )  # fmt: skip
    assert [one.state for one in EntryChange.objects.order_by("pk")] == ["DONE", "REFUSED"]


def test_price_and_levels_of_a_waiting_entry_are_one_change(
    alice: ExecutionConnection, feed: Feed
) -> None:
    order = waiting(feed)
    done = change(order, limit_price="1.099", stop_loss="1.096", take_profit="1.1")
    assert (done.state, EntryChange.objects.count()) == ("DONE", 1)
    [outgoing] = factories.claim_all()
    assert outgoing.request.limit_price == D("1.09900")


# ---- newer instructions --------------------------------------------------------------------------
def test_later_modify_replaces_the_entrys_own_levels(
    alice: ExecutionConnection, feed: Feed
) -> None:
    order = working(feed, targets=[("1.11", "1")])
    change(order, stop_loss="1.092", take_profit="1.105")
    assert order.signal is not None
    factories.signal(feed, action="MODIFY", refers_to=order.signal, direction="BUY", sl=D("1.091"))
    order.refresh_from_db()
    assert coming_levels(order) == (D("1.091"), D("1.105"))
    position = execute()
    assert (position.sl, position.tp) == (D("1.091"), D("1.105"))


def test_own_levels_move_with_a_routed_entry(
    alice: ExecutionConnection, feed: Feed, broker: FakeBroker
) -> None:
    spare = factories.account(owner=alice.user, settings={"native_stops": True})
    route = [RouteAccount(alice.pk), RouteAccount(spare.pk)]
    set_route(alice.subscriptions.get().pk, by=alice.user, policy="HEALTH", accounts=route)
    order = waiting(feed)
    change(order, stop_loss="1.092")
    [outgoing] = factories.claim_all()
    factories.answer(outgoing, NotSent(Code.NOT_CONNECTED))
    run("UPDATE execution_order SET due_at = now() WHERE status = 'PENDING'")
    factories.claim_all()  # it moves on
    [outgoing] = factories.claim_all()
    assert outgoing.request.connection_id == str(spare.pk)
    assert outgoing.request.stop_loss == D("1.092")
