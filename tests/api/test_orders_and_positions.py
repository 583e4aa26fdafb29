"""Orders, positions, results and pagination over HTTP, with exact values."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection as database
from django.test.utils import CaptureQueriesContext

from analytics.models import AnalyticsDaily
from common.clocks import market_now
from connections.models import ConnectionHealth, Subscription
from execution.api.serializers import lifecycle_of
from execution.models import DriftItem, Fill, Order, Status
from positions.models import ExecutionPosition
from prices.models import LatestQuote
from signals.feeds import create_feed
from signals.models import Signal
from tests.api.factories import World, order
from tests.api.test_problems import problem


def get(world: World, path: str, username: str = "alice") -> Any:
    response = world.client(username).get(f"/api/v1/{path}")
    assert response.status_code == 200, response.content
    return response.json()


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


def test_pagination_neither_skips_nor_repeats_rows(world: World) -> None:
    created = [order(world.connection, world.published, f"entry-{n}").pk for n in range(10, 17)]
    seen: list[int] = []
    data = get(world, "orders/?page_size=3&status=PENDING")
    while True:
        seen += [result["id"] for result in data["results"]]
        if len(seen) == 3:
            order(world.connection, world.published, "entry-99")  # created meanwhile
        if not data["next"]:
            break
        data = world.client("alice").get(data["next"]).json()
    assert seen == [*reversed(created), world.pending.pk]


def test_orders_are_filtered_and_sorted(world: World) -> None:
    def ids(query: str) -> list[int]:
        return [result["id"] for result in get(world, f"orders/?{query}")["results"]]

    assert ids("status=PENDING&status=FAILED") == [world.failed.pk, world.pending.pk]
    assert ids("done=false") == [world.pending.pk]
    assert ids("reason=NEVER_ARRIVED") == [world.failed.pk]
    assert ids("ordering=id")[0] == world.filled.pk
    assert ids(f"signal={world.published.pk}&entry=true&side=BUY") == ids("")
    assert ids("entry=false") == []
    assert ids("created_after=2100-01-01T00:00:00Z") == []


@pytest.mark.parametrize(
    "path",
    ["orders", "positions", "connections", "signals", "subscriptions", "feeds", "drift"],
)
def test_longer_list_needs_no_more_queries(world: World, path: str) -> None:
    def count_queries() -> int:
        with CaptureQueriesContext(database) as queries:
            get(world, f"{path}/")
        return len(queries)

    get(world, f"{path}/")
    before = count_queries()
    create_more_rows(world)
    assert count_queries() == before


def create_more_rows(world: World) -> None:
    """Create two more rows of each listed kind."""
    for number in (2, 3):
        row = type(world.connection).objects.create(
            user=world.alice, name=f"c{number}", type="paper", account=str(number),
            preset=world.preset, data_connection=world.prices,
        )  # fmt: skip
        ConnectionHealth.objects.create(connection=row)
        feed = create_feed(owner=world.alice, name=f"f{number}")
        Subscription.objects.create(connection=row, feed=feed)
        signal = Signal.objects.create(feed=feed, currency_pair="EUR/USD", direction="BUY")
        order(row, signal, "entry")
        DriftItem.objects.create(kind="UNKNOWN_POSITION", connection=row, key="k")
        ExecutionPosition.objects.create(
            connection=row, signal=signal, pair="EUR/USD", symbol="EURUSD", side="BUY",
            quantity=1, opened_quantity=1, entry_price=1, pip=1, conversion_rate=1,
            opened_at=market_now(),
        )  # fmt: skip


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


def test_closing_reserves_the_quantity_and_is_refused_when_none_is_left(world: World) -> None:
    alice, path = world.client("alice"), f"/api/v1/positions/{world.position.pk}/close/"
    problem(alice.post(path, {"fraction": "1.5"}, format="json"), 400, "FIELD_INVALID")
    problem(alice.post(path, {"fraction": "NaN"}, format="json"), 400, "NUMBER_MALFORMED")
    exit_order = alice.post(path)
    assert exit_order.status_code == 202
    data = exit_order.json()
    assert (data["side"], data["quantity"], data["position"]) == (
        "SELL",
        "1000",
        world.position.pk,
    )
    problem(alice.post(path), 409, "NOTHING_TO_CLOSE")


def test_operator_must_state_which_orders_and_positions_to_end(world: World) -> None:
    alice, olga = world.client("alice"), world.client("olga")
    for path in ("orders/cancel-all", "positions/close-all"):
        problem(olga.post(f"/api/v1/{path}/", {}, format="json"), 400, "FIELD_REQUIRED")
    cancelled = alice.post("/api/v1/orders/cancel-all/").json()
    assert cancelled == {"ids": [world.pending.pk], "count": 1}
    closed = alice.post(
        "/api/v1/positions/close-all/", {"signal": world.published.pk}, format="json"
    )
    assert closed.json()["count"] == 1
    repeated = olga.post("/api/v1/positions/close-all/", {"all": True}, format="json")
    assert repeated.json()["count"] == 0


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
