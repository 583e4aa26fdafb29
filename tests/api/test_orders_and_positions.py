"""Orders, positions, results and pagination over HTTP, with exact values."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection as database
from django.test.utils import CaptureQueriesContext

from analytics.models import AnalyticsDaily
from common import newest_rows
from common.clocks import market_now
from connections.models import ConnectionHealth, Instrument, Subscription
from execution.api.order_serializers import lifecycle_of
from execution.models import DriftItem, Fill, Order, ScopedAction, Status
from positions.models import ExecutionPosition
from prices.models import LatestQuote
from signals.feeds import create_feed
from signals.models import Signal
from tests.api.factories import World, order
from tests.api.test_problems import problem
from tests.connections import make
from users.models import User


def get(world: World, path: str, username: str = "alice") -> Any:
    response = world.client(username).get(f"/api/v1/{path}")
    assert response.status_code == 200, response.content
    return response.json()


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


@pytest.mark.parametrize("ordering", ["", "&ordering=-id", "&ordering=id", "&ordering=-created_at"])
@pytest.mark.parametrize("most_owners", [100, 2])
def test_pages_of_several_accounts_are_merged_in_both_directions(
    world: World, ordering: str, most_owners: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each account's rows are found apart, unless there are many accounts."""
    monkeypatch.setattr(newest_rows, "MOST_OWNERS", most_owners)
    alice = User.objects.get(username="alice")
    *others, idle = (
        make.connection(alice, name=name, account=name) for name in ("2nd", "3rd", "4th", "idle")
    )
    mine = [
        order(account, world.published, f"entry-{n}").pk
        for n in range(5, 8)
        for account in (world.connection, *others)
    ]
    assert not Order.objects.filter(connection=idle).exists()
    expected = [world.pending.pk, *mine]
    if ordering != "&ordering=id":
        expected.reverse()
    page = get(world, f"orders/?page_size=4&status=PENDING{ordering}")
    first, seen = page, list[int]()
    while True:
        seen += [row["id"] for row in page["results"]]
        if not page["next"]:
            break
        page = world.client("alice").get(page["next"]).json()
    assert seen == expected
    while page["previous"]:
        page = world.client("alice").get(page["previous"]).json()
    assert page["results"] == first["results"]


def test_orders_are_filtered_and_sorted(world: World) -> None:
    def ids(query: str) -> list[int]:
        return [result["id"] for result in get(world, f"orders/?{query}")["results"]]

    assert ids("status=PENDING&status=FAILED") == [world.failed.pk, world.pending.pk]
    assert ids("done=false") == ids("working=true") == [world.pending.pk]
    assert ids("working=false") == [world.failed.pk, world.filled.pk]
    feed = world.published.feed
    assert (ids(f"feed={feed.slug}"), ids("feed=other")) == (ids(""), [])
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
    assert cancelled == {"ids": [world.pending.pk], "count": 1, "dry_run": False}
    closed = alice.post(
        "/api/v1/positions/close-all/", {"signal": world.published.pk}, format="json"
    )
    assert closed.json()["count"] == 1
    repeated = olga.post("/api/v1/positions/close-all/", {"all": True}, format="json")
    assert repeated.json()["count"] == 0


def choices(world: World) -> dict[str, dict[str, Any]]:
    """Choices that the world's rows fit, and the same that they do not."""
    return {
        "connection": {"connection": str(world.connection.pk)},
        "signal": {"signal": world.published.pk},
        "feed": {"feed": world.feed.slug},
        "symbol": {"symbol": "eurusd"},
        "broker_type": {"broker_type": "paper"},
        "user": {"user": world.alice.pk},
        "another symbol": {"symbol": "GBP/USD"},
        "another type": {"broker_type": "mt5"},
        "one of two": {"symbol": "EUR/USD", "broker_type": "mt5"},
    }


@pytest.mark.parametrize("choice", [
    "connection", "signal", "feed", "symbol", "broker_type", "user", "another symbol",
    "another type", "one of two",
])  # fmt: skip
@pytest.mark.parametrize("name", ["alice", "olga"])
def test_dry_run_returns_what_a_choice_reaches_and_changes_nothing(
    world: World, choice: str, name: str
) -> None:
    client, body = world.client(name), choices(world)[choice] | {"dry_run": True}
    fits = choice in ("connection", "signal", "feed", "symbol", "broker_type", "user")
    shown = client.post("/api/v1/positions/close-all/", body, format="json")
    assert shown.status_code == 200
    assert shown.json()["dry_run"] is True
    assert (world.position.pk in shown.json()["ids"]) is fits
    assert Order.objects.exits().filter(done_at=None).count() == 0
    impact = shown.json()["impact"]
    assert impact["positions"] == (1 if fits else 0)
    orders = client.post("/api/v1/orders/cancel-all/", body, format="json").json()
    assert orders["count"] == len(orders["ids"])
    assert orders["impact"] == impact
    world.pending.refresh_from_db()
    assert world.pending.done_at is None


@pytest.mark.parametrize("path", ["orders/cancel-all", "positions/close-all"])
def test_only_operators_choose_another_user(world: World, path: str) -> None:
    """The name of the scope would show a tenant the names of others."""
    for other in (world.bob.pk, 10**9):
        refused = world.client("alice").post(f"/api/v1/{path}/", {"user": other}, format="json")
        assert (refused.status_code, refused.json()["code"]) == (400, "FIELD_INVALID")
    assert not ScopedAction.objects.exists()
    body = {"user": world.bob.pk, "dry_run": True}
    assert world.client("olga").post(f"/api/v1/{path}/", body, format="json").status_code == 200


def test_dry_run_leaves_out_what_is_being_closed(world: World) -> None:
    alice, path = world.client("alice"), "/api/v1/positions/close-all/"
    shown = alice.post(path, {"dry_run": True}, format="json").json()
    assert world.position.pk in shown["ids"]
    alice.post(path, {}, format="json")
    assert alice.post(path, {"dry_run": True}, format="json").json()["ids"] == []


def test_close_all_counts_positions_as_its_dry_run_does(world: World) -> None:
    alice, path = world.client("alice"), "/api/v1/positions/close-all/"
    Instrument.objects.create(
        book=world.connection.instrument_book, pair="EUR/USD", symbol=world.position.symbol,
        digits=5, pip=Decimal("0.0001"), quantity_min=10, quantity_step=10, quantity_max=400,
        contract_size=100_000, read_at=market_now(),
    )  # fmt: skip
    body: dict[str, Any] = {"connection": str(world.connection.pk)}
    shown = alice.post(path, body | {"dry_run": True}, format="json").json()
    done = alice.post(path, body, format="json").json()
    assert (shown["count"], done["count"], len(done["ids"])) == (1, 1, 3)
    assert alice.post(path, body, format="json").json()["count"] == 0


def test_repeated_request_with_its_key_ends_nothing_more(world: World) -> None:
    alice, path = world.client("alice"), "/api/v1/positions/close-all/"
    key: Any = {"HTTP_IDEMPOTENCY_KEY": "flat-1"}
    body = {"connection": str(world.connection.pk)}
    first = alice.post(path, body, format="json", **key)
    assert (first.status_code, first.json()["count"]) == (202, 1)
    assert alice.post(path, body, format="json", **key).json() == first.json()
    assert Order.objects.exits().filter(pk__in=first.json()["ids"]).count() == 1
    assert alice.post(path, body, format="json").json()["ids"] == []  # without it: a new request
    problem(alice.post(path, {}, format="json", **key), 409, "DUPLICATE_REQUEST")
    problem(alice.post("/api/v1/orders/cancel-all/", body, format="json", **key), 409,
            "DUPLICATE_REQUEST")  # fmt: skip
    assert world.client("bob").post(path, {}, format="json", **key).json()["ids"] == []
    long: Any = {"HTTP_IDEMPOTENCY_KEY": "k" * 256}
    problem(alice.post(path, body, format="json", **long), 400, "FIELD_INVALID")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"feed": "no-such-feed"}, "FIELD_INVALID"),
        ({"symbol": "??"}, "SYMBOL_UNKNOWN"),
        ({"broker_type": "nobody"}, "FIELD_INVALID"),
        ({"everything": True}, "FIELD_UNKNOWN"),
    ],
)
def test_choice_that_names_nothing_is_refused(
    world: World, body: dict[str, Any], code: str
) -> None:
    alice = world.client("alice")
    for path in ("orders/cancel-all", "positions/close-all"):
        problem(alice.post(f"/api/v1/{path}/", body, format="json"), 400, code)


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
