"""Orders, positions and results over HTTP, with exact values."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from analytics.models import AnalyticsDaily
from api.trading.order_serializers import lifecycle_of
from common.clocks import market_now
from common.money import divide, plain, to_stored
from connections.models import AccountSnapshot, Instrument, Subscription
from execution.models import Fill, Order, Status
from positions.models import ExecutionPosition
from prices.models import LatestQuote
from signals.models import Signal
from tests.analytics import factories
from tests.api.factories import World, order
from tests.api.reading import get
from tests.api.test_problems import problem


def test_rounding_debt_of_a_subscription_is_listed_by_pair(world: World) -> None:
    signal = world.filled.signal
    assert signal is not None
    taken = Subscription.objects.create(connection=world.connection, feed=signal.feed)
    path = f"subscriptions/{taken.pk}/rounding-debt/"
    assert get(world, path) == []
    Order.objects.filter(pk=world.filled.pk).update(unrounded_quantity=Decimal("1234.5"))
    assert get(world, path) == [{"pair": "EUR/USD", "quantity": "234.5", "entries": 1}]
    assert get(world, path, "olga") == get(world, path)
    assert get(world, f"subscriptions/{world.subscription.pk}/rounding-debt/") == []
    assert get(world, f"orders/{world.filled.pk}/")["unrounded_quantity"] == "1234.5"


def test_order_states_its_outcome_fills_and_reason(world: World) -> None:
    Fill.objects.create(
        connection=world.connection, broker_fill_id="f", order=world.filled, side="BUY",
        quantity=Decimal(1000), price=Decimal("1.38600"), time=market_now(),
    )  # fmt: skip
    data = get(world, f"orders/{world.filled.pk}/")
    assert (data["status"], data["lifecycle"], data["reason"]) == ("FILLED", "FILLED", None)
    assert (data["quantity"], data["avg_fill_price"], data["number"]) == (
        "1000",
        "1.386",
        f"O-{world.filled.pk}",
    )
    assert [(fill["quantity"], fill["price"]) for fill in data["fills"]] == [("1000", "1.386")]
    failed = get(world, f"orders/{world.failed.pk}/")
    assert failed["reason"]["code"] == "NEVER_ARRIVED"
    assert "operator may retry" in failed["reason"]["hint"]


@pytest.mark.parametrize(
    ("status", "filled", "closed", "lifecycle"),
    [
        (Status.PENDING, 0, False, "RECEIVED"),
        (Status.SUBMITTING, 0, False, "VALIDATED"),
        (Status.UNKNOWN, 0, False, "UNKNOWN"),
        (Status.FILLED, 5, False, "FILLED"),
        (Status.FILLED, 5, True, "CLOSED"),
        (Status.CANCELLED, 0, True, "CANCELLED"),  # nothing of it was ever open
        (Status.CANCELLED, 2, True, "CLOSED"),
    ],
)
def test_lifecycle_of_an_order(status: Status, filled: int, closed: bool, lifecycle: str) -> None:
    order_row: Any = Order(status=status, filled_quantity=Decimal(filled))
    order_row.position_closed = closed
    assert lifecycle_of(order_row) == lifecycle


def test_order_with_a_closed_position_is_closed(world: World) -> None:
    ExecutionPosition.objects.update(quantity=0, closed_at=market_now(), close_reason="sl")
    lifecycles = {result["id"]: result["lifecycle"] for result in get(world, "orders/")["results"]}
    assert lifecycles == {
        world.filled.pk: "CLOSED",
        world.pending.pk: "RECEIVED",
        world.failed.pk: "FAILED",
    }


def test_position_is_valued_at_current_prices(world: World) -> None:
    LatestQuote.objects.create(
        data_connection=world.prices, symbol="EUR/USD", bid=Decimal("1.388"),
        ask=Decimal("1.3881"), time=market_now(),
    )  # fmt: skip
    data = get(world, f"positions/{world.position.pk}/")
    assert (data["current_price"], data["unrealized_pnl"]) == ("1.388", "2")
    assert (data["stop_loss"], data["take_profit"], data["is_open"]) == ("1.38", None, True)


def test_levels_are_changed_one_by_one(world: World) -> None:
    alice, path = world.client("alice"), f"/api/v1/positions/{world.position.pk}/"
    data = alice.patch(path, {"take_profit": "1.45"}, format="json").json()
    assert (data["stop_loss"], data["take_profit"]) == ("1.38", "1.45")
    data = alice.patch(path, {"stop_loss": None}, format="json").json()
    assert (data["stop_loss"], data["take_profit"]) == (None, "1.45")
    through_order = alice.patch(
        f"/api/v1/orders/{world.filled.pk}/", {"stop_loss": 1.37}, format="json"
    )
    assert through_order.status_code == 200
    world.position.refresh_from_db()
    assert (world.position.sl, world.position.tp) == (Decimal("1.37"), Decimal("1.45"))
    problem(alice.patch(path, {}, format="json"), 400, "FIELD_INVALID")
    problem(alice.patch(path, {"stop_loss": "0"}, format="json"), 400, "NUMBER_NOT_POSITIVE")
    problem(alice.patch(path, {"quantity": "1"}, format="json"), 400, "FIELD_UNKNOWN")


def test_order_is_cancelled_by_patch(world: World) -> None:
    alice = world.client("alice")
    path = f"/api/v1/orders/{world.pending.pk}/"
    both = {"status": "CANCELLED", "stop_loss": "1.3"}
    problem(alice.patch(path, both, format="json"), 400, "FIELD_INVALID")
    data = alice.patch(path, {"status": "CANCELLED"}, format="json").json()
    assert (data["status"], data["reason"]["code"]) == ("CANCELLED", "OWNER_CANCELLED")
    assert alice.put(path, {}, format="json").status_code == 405


def test_entry_that_is_not_sent_is_changed_at_once(world: World) -> None:
    alice = world.client("alice")
    terms = {"order_type": "LIMIT", "open_price": Decimal("1.38"), "direction": "BUY"}
    another = Signal.objects.create(
        feed=world.feed, currency_pair="EUR/USD", approval="APPROVED",
        published_at=market_now(), candidate_count=1, **terms,
    )  # fmt: skip
    waiting = order(
        world.connection, another, "entry", order_type="LIMIT", limit_price=Decimal("1.38")
    )
    path = f"/api/v1/orders/{waiting.pk}/"
    Instrument.objects.create(
        book=world.connection.instrument_book, pair="EUR/USD", symbol="EURUSD", digits=5,
        pip=Decimal("0.0001"), quantity_min=10, quantity_step=10, quantity_max=1000,
        contract_size=100_000, read_at=market_now(),
    )  # fmt: skip
    change = alice.patch(path, {"limit_price": "1.37501", "quantity": 50}, format="json")
    data = change.json()
    assert change.status_code == 200, data
    assert data["limit_price"] == "1.37501"
    assert (data["change"]["state"], data["change"]["reason"]) == ("DONE", None)
    assert (data["change"]["quantity"], data["change"]["old_limit_price"]) == ("50", "1.38")
    problem(alice.patch(path, {"quantity": "55"}, format="json"), 400, "VOLUME_INVALID")
    problem(alice.patch(path, {"stop_price": "1.4"}, format="json"), 400, "FIELD_INVALID")
    problem(alice.patch(path, {"limit_price": None}, format="json"), 400, "FIELD_INVALID")
    mixed = {"limit_price": "1.37", "status": "CANCELLED"}
    problem(alice.patch(path, mixed, format="json"), 400, "FIELD_INVALID")
    mixed = {"limit_price": "1.37", "stop_loss": "1.371"}
    wrong = problem(alice.patch(path, mixed, format="json"), 400, "STOP_WRONG_SIDE")
    assert [error["field"] for error in wrong["errors"]] == ["stop_loss"]
    mixed["stop_loss"] = "1.36"
    data = alice.patch(path, mixed, format="json").json()
    assert (data["limit_price"], data["own_stop_loss"], data["own_take_profit"]) == (
        "1.37", "1.36", None,
    )  # fmt: skip
    assert (data["change"]["old_stop_loss"], data["change"]["stop_loss"]) == (None, "1.36")
    removed = problem(alice.patch(path, {"stop_loss": None}, format="json"), 400, "FIELD_INVALID")
    assert [error["field"] for error in removed["errors"]] == ["stop_loss"]
    assert alice.patch(path, {"take_profit": "1.4"}, format="json").status_code == 200
    end = (market_now() + timedelta(hours=1)).replace(microsecond=0)
    moved = alice.patch(path, {"valid_until": end.isoformat()}, format="json").json()
    assert datetime.fromisoformat(moved["own_valid_until"]) == end
    assert moved["change"]["old_valid_until"] is None
    past = {"valid_until": (market_now() - timedelta(hours=1)).isoformat()}
    wrong = problem(alice.patch(path, past, format="json"), 400, "FIELD_INVALID")
    assert [error["field"] for error in wrong["errors"]] == ["valid_until"]
    problem(alice.patch(path, {"quantity": "50"}, format="json"), 409, "NOTHING_TO_CHANGE")
    ended = f"/api/v1/orders/{world.filled.pk}/"
    problem(alice.patch(ended, {"quantity": "2000"}, format="json"), 409, "ORDER_ENDED")
    bob = world.client("bob").patch(path, {"quantity": "60"}, format="json")
    assert bob.status_code == 404


def test_trailing_stop_at_its_broker_is_shown_as_native_and_not_changed(world: World) -> None:
    signal = Signal.objects.create(
        feed=world.feed, currency_pair="EUR/USD", direction="BUY", order_type="TRAILING_STOP",
        trail_pips=Decimal(50), approval="APPROVED", published_at=market_now(), candidate_count=1,
    )  # fmt: skip
    working = order(
        world.connection, signal, "entry", status="SUBMITTED", order_type="TRAILING_STOP",
        stop_price=Decimal("1.105"), trail_distance=Decimal("0.005"),
    )  # fmt: skip
    data = get(world, f"orders/{working.pk}/")
    assert (data["emulated"], data["trigger"], data["order_type"]) == (False, None, "TRAILING_STOP")
    assert (data["trail_distance"], data["stop_price"]) == ("0.005", "1.105")
    change = {"quantity": "2000"}
    answer = world.client("alice").patch(f"/api/v1/orders/{working.pk}/", change, format="json")
    problem(answer, 409, "CHANGE_UNSUPPORTED")


def test_analytics_return_ones_own_results(world: World) -> None:
    last = market_now().date() - timedelta(days=5)  # a day that the daily job has finished
    for ago, pnl in ((1, Decimal("-5.50")), (0, Decimal(20))):
        AnalyticsDaily.objects.create(
            connection=world.connection, day=last - timedelta(days=ago), trades=1,
            wins=int(pnl > 0), losses=int(pnl < 0), gross_profit=max(pnl, Decimal(0)),
            gross_loss=max(-pnl, Decimal(0)), total_pnl=pnl, highest_prefix=max(pnl, Decimal(0)),
            lowest_prefix=min(pnl, Decimal(0)), max_drawdown=max(-pnl, Decimal(0)),
        )  # fmt: skip
    (result,) = get(world, "analytics/")
    assert (result["currency"], result["trades"], result["total_pnl"], result["max_drawdown"]) == (
        "USD",
        2,
        "14.5",
        "5.5",
    )
    assert result["win_rate"] == "0.5"
    (curve,) = get(world, "analytics/equity/")
    assert [point["total"] for point in curve["points"]] == ["-5.5", "14.5"]
    assert get(world, f"analytics/?from={last}&to={last}")[0]["total_pnl"] == "20"
    assert get(world, "analytics/", "bob") == []
    assert get(world, f"analytics/?connection={world.connection.pk}", "bob") == []
    quality = get(world, "analytics/execution/")
    assert (quality[0]["candidates"], quality[0]["filled"]) == (3, 1)
    alice = world.client("alice")
    for query in ("from=x", "from=2030-01-02&to=2030-01-01", "from=1900-01-01", "connection=1"):
        problem(alice.get(f"/api/v1/analytics/?{query}"), 400, "FIELD_INVALID")


def test_notifications_are_marked_as_read_once(world: World) -> None:
    assert len(get(world, "notifications/?unread=true")["results"]) == 1
    alice = world.client("alice")
    assert alice.post("/api/v1/notifications/read/").json() == {"marked": 1}
    assert alice.post("/api/v1/notifications/read/").json() == {"marked": 0}
    assert get(world, "notifications/?unread=true")["results"] == []


def test_break_even_trailing_and_a_quantity_over_http(world: World) -> None:
    client, path = world.client("alice"), f"/api/v1/positions/{world.position.pk}/"
    LatestQuote.objects.update_or_create(
        data_connection=world.prices, symbol="EUR/USD",
        defaults={"bid": Decimal("1.4"), "ask": Decimal("1.4001"), "time": market_now()},
    )  # fmt: skip
    ExecutionPosition.objects.update(price_source=world.prices)
    entry = world.position.entry_price
    moved = client.post(f"{path}break-even/", {"offset": "2"}, format="json")
    assert Decimal(moved.json()["stop_loss"]) == entry + Decimal("0.0002")
    again = client.post(f"{path}break-even/", {"offset": "1"}, format="json")
    problem(again, 409, "STOP_IS_BETTER")
    rule = client.put(f"{path}trailing/", {"distance": "30", "unit": "PIPS"}, format="json")
    assert rule.json()["stop_rule"]["trailing_distance"] == "30"
    assert rule.json()["stop_rule"]["trailing_origin"] == "OWNER"
    assert client.delete(f"{path}trailing/").json()["stop_rule"] is None
    problem(client.delete(f"{path}trailing/"), 409, "TRAILING_NOT_SET")
    without_step = {"distance": "5", "activation": "-1"}
    problem(client.put(f"{path}trailing/", without_step, format="json"), 400, "FIELD_INVALID")
    too_much = client.post(f"{path}close/", {"quantity": "99999999"}, format="json")
    assert too_much.json()["code"] == "EXIT_ABOVE_OPEN"
    both = client.post(f"{path}close/", {"quantity": "1", "fraction": "1"}, format="json")
    problem(both, 400, "FIELD_INVALID")
    closing = client.post(f"{path}close/", {"quantity": "400"}, format="json")
    assert (closing.status_code, closing.json()["quantity"]) == (202, "400")


def test_position_states_distances_and_r(world: World) -> None:
    LatestQuote.objects.create(
        data_connection=world.prices, symbol="EUR/USD", bid=Decimal("1.39"), ask=Decimal("1.3902"),
        time=market_now(),
    )  # fmt: skip
    path = f"positions/{world.position.pk}/"
    names = ("distance_unit", "moved", "stop_distance", "stop_result", "target_distance", "in_r")

    def shown() -> list[Any]:
        found = get(world, path)
        return [found[name] for name in names]

    # 1,000 bought at 1.386, stop at 1.38; its entry had none
    assert shown() == ["PIPS", "40", "100", "-6", None, None]
    Order.objects.filter(pk=world.filled.pk).update(stop_loss=Decimal("1.384"))
    ExecutionPosition.objects.filter(pk=world.position.pk).update(tp=Decimal("1.4"))
    assert shown() == ["PIPS", "40", "100", "-6", "100", "2"]
    found = get(world, path)
    assert (found["stop_in_r"], found["target_in_r"], found["target_result"]) == ("-3", "7", "14")
    assert get(world, "positions/")["results"][0]["in_r"] == "2"


@pytest.mark.parametrize("has_quote", [True, False])
def test_result_of_a_level_depends_neither_on_a_quote_nor_on_the_fields_asked_for(
    world: World, has_quote: bool
) -> None:
    """An account in the base currency is paid at the level itself, whatever the price is now."""
    AccountSnapshot.objects.filter(connection=world.position.connection).delete()
    factories.snapshot(world.position.connection, "EUR")
    if has_quote:
        LatestQuote.objects.create(
            data_connection=world.prices, symbol="EUR/USD", bid=Decimal("1.39"),
            ask=Decimal("1.3902"), time=market_now(),
        )  # fmt: skip
    expected = plain(to_stored(divide(Decimal(-6), Decimal("1.38"))))
    path = f"positions/{world.position.pk}/"
    assert get(world, path)["stop_result"] == expected
    assert get(world, f"{path}?fields=stop_result")["stop_result"] == expected
    with CaptureQueriesContext(connection) as several:
        assert get(world, "positions/?fields=stop_result")["results"][0]["stop_result"] == expected
    assert not [sql for sql in several.captured_queries if 'accountsnapshot" WHERE' in sql["sql"]]
