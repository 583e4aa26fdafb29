"""Orders, positions, results and pages: what they say, exactly."""

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


def get(world: World, path: str, who: str = "alice") -> Any:
    response = world.client(who).get(f"/api/v1/{path}")
    assert response.status_code == 200, response.content
    return response.json()


def test_an_order_tells_what_became_of_it_and_why(world: World) -> None:
    Fill.objects.create(
        connection=world.connection, broker_fill_id="f", order=world.filled, side="BUY",
        quantity=Decimal(1000), price=Decimal("1.38600"), time=market_now(),
    )  # fmt: skip
    told = get(world, f"orders/{world.filled.pk}/")
    assert (told["status"], told["lifecycle"], told["reason"]) == ("FILLED", "FILLED", None)
    assert (told["quantity"], told["avg_fill_price"], told["number"]) == (
        "1000",
        "1.386",
        f"O-{world.filled.pk}",
    )
    assert [(fill["quantity"], fill["price"]) for fill in told["fills"]] == [("1000", "1.386")]
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
def test_lifecycle(status: Status, filled: int, closed: bool, lifecycle: str) -> None:
    one: Any = Order(status=status, filled_quantity=Decimal(filled))
    one.position_closed = closed
    assert lifecycle_of(one) == lifecycle


def test_an_order_whose_position_is_closed_is_closed(world: World) -> None:
    ExecutionPosition.objects.update(quantity=0, closed_at=market_now(), close_reason="sl")
    told = {one["id"]: one["lifecycle"] for one in get(world, "orders/")["results"]}
    assert told == {
        world.filled.pk: "CLOSED",
        world.pending.pk: "RECEIVED",
        world.failed.pk: "FAILED",
    }


def test_pages_neither_skip_nor_repeat(world: World) -> None:
    made = [order(world.connection, world.published, f"entry-{n}").pk for n in range(10, 17)]
    seen: list[int] = []
    told = get(world, "orders/?page_size=3&status=PENDING")
    while True:
        seen += [one["id"] for one in told["results"]]
        if len(seen) == 3:
            order(world.connection, world.published, "entry-99")  # comes in meanwhile
        if not told["next"]:
            break
        told = world.client("alice").get(told["next"]).json()
    assert seen == [*reversed(made), world.pending.pk]


def test_filters_and_order(world: World) -> None:
    def ids(query: str) -> list[int]:
        return [one["id"] for one in get(world, f"orders/?{query}")["results"]]

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
def test_a_longer_list_asks_no_more_questions(world: World, path: str) -> None:
    def asked() -> int:
        with CaptureQueriesContext(database) as queries:
            get(world, f"{path}/")
        return len(queries)

    get(world, f"{path}/")
    before = asked()
    grow(world)
    assert asked() == before


def grow(world: World) -> None:
    """Two more of everything that is listed."""
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


def test_a_position_at_present_prices(world: World) -> None:
    LatestQuote.objects.create(
        data_connection=world.prices, symbol="EUR/USD", bid=Decimal("1.388"),
        ask=Decimal("1.3881"), time=market_now(),
    )  # fmt: skip
    told = get(world, f"positions/{world.position.pk}/")
    assert (told["current_price"], told["unrealized_pnl"]) == ("1.388", "2")
    assert (told["stop_loss"], told["take_profit"], told["is_open"]) == ("1.38", None, True)


def test_levels_are_moved_one_by_one(world: World) -> None:
    alice, path = world.client("alice"), f"/api/v1/positions/{world.position.pk}/"
    told = alice.patch(path, {"take_profit": "1.45"}, format="json").json()
    assert (told["stop_loss"], told["take_profit"]) == ("1.38", "1.45")
    told = alice.patch(path, {"stop_loss": None}, format="json").json()
    assert (told["stop_loss"], told["take_profit"]) == (None, "1.45")
    through_order = alice.patch(
        f"/api/v1/orders/{world.filled.pk}/", {"stop_loss": 1.37}, format="json"
    )
    assert through_order.status_code == 200
    world.position.refresh_from_db()
    assert (world.position.sl, world.position.tp) == (Decimal("1.37"), Decimal("1.45"))
    problem(alice.patch(path, {}, format="json"), 400, "FIELD_INVALID")
    problem(alice.patch(path, {"stop_loss": "0"}, format="json"), 400, "NUMBER_NOT_POSITIVE")
    problem(alice.patch(path, {"quantity": "1"}, format="json"), 400, "FIELD_UNKNOWN")


def test_an_order_is_cancelled_by_patch_too(world: World) -> None:
    alice = world.client("alice")
    path = f"/api/v1/orders/{world.pending.pk}/"
    both = {"status": "CANCELLED", "stop_loss": "1.3"}
    problem(alice.patch(path, both, format="json"), 400, "FIELD_INVALID")
    told = alice.patch(path, {"status": "CANCELLED"}, format="json").json()
    assert (told["status"], told["reason"]["code"]) == ("CANCELLED", "OWNER_CANCELLED")
    assert alice.put(path, {}, format="json").status_code == 405


def test_closing_reserves_and_says_when_nothing_is_left(world: World) -> None:
    alice, path = world.client("alice"), f"/api/v1/positions/{world.position.pk}/close/"
    problem(alice.post(path, {"fraction": "1.5"}, format="json"), 400, "FIELD_INVALID")
    problem(alice.post(path, {"fraction": "NaN"}, format="json"), 400, "NUMBER_MALFORMED")
    exit_order = alice.post(path)
    assert exit_order.status_code == 202
    told = exit_order.json()
    assert (told["side"], told["quantity"], told["position"]) == (
        "SELL",
        "1000",
        world.position.pk,
    )
    problem(alice.post(path), 409, "NOTHING_TO_CLOSE")


def test_all_at_once_and_an_operator_must_say_which(world: World) -> None:
    alice, olga = world.client("alice"), world.client("olga")
    for path in ("orders/cancel-all", "positions/close-all"):
        problem(olga.post(f"/api/v1/{path}/", {}, format="json"), 400, "FIELD_REQUIRED")
    cancelled = alice.post("/api/v1/orders/cancel-all/").json()
    assert cancelled == {"ids": [world.pending.pk], "count": 1}
    closed = alice.post(
        "/api/v1/positions/close-all/", {"signal": world.published.pk}, format="json"
    )
    assert closed.json()["count"] == 1
    again = olga.post("/api/v1/positions/close-all/", {"all": True}, format="json")
    assert again.json()["count"] == 0


def test_results_of_one_s_own_days(world: World) -> None:
    last = market_now().date() - timedelta(days=5)  # a day that the daily job has finished
    for ago, pnl in ((1, Decimal("-5.50")), (0, Decimal(20))):
        AnalyticsDaily.objects.create(
            connection=world.connection, day=last - timedelta(days=ago), trades=1,
            wins=int(pnl > 0), losses=int(pnl < 0), gross_profit=max(pnl, Decimal(0)),
            gross_loss=max(-pnl, Decimal(0)), total_pnl=pnl, highest_prefix=max(pnl, Decimal(0)),
            lowest_prefix=min(pnl, Decimal(0)), max_drawdown=max(-pnl, Decimal(0)),
        )  # fmt: skip
    (told,) = get(world, "analytics/")
    assert (told["currency"], told["trades"], told["total_pnl"], told["max_drawdown"]) == (
        "USD",
        2,
        "14.5",
        "5.5",
    )
    assert told["win_rate"] == "0.5"
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


def test_notifications_are_read_once(world: World) -> None:
    assert len(get(world, "notifications/?unread=true")["results"]) == 1
    alice = world.client("alice")
    assert alice.post("/api/v1/notifications/read/").json() == {"marked": 1}
    assert alice.post("/api/v1/notifications/read/").json() == {"marked": 0}
    assert get(world, "notifications/?unread=true")["results"] == []
