"""Open positions and working orders as CSV: what the pages show, of all rows that match."""

import csv
import io
from datetime import timedelta
from decimal import Decimal as D
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from analytics.history import open_tables
from analytics.history.open_tables import OPEN_TABLES
from connections.models import ExecutionConnection
from positions.models import ExecutionPosition
from signals.models import Feed, Signal
from tests.html import html_of
from tests.portal.conftest import SignedIn
from tests.portal.factories import World

pytestmark = pytest.mark.django_db
POSITIONS, ORDERS = "/positions/open.csv", "/orders/working.csv"


@pytest.fixture
def client(world: World, signed_in: SignedIn) -> Client:
    return signed_in(world.alice)


@pytest.fixture
def web(client: Client, as_web: None) -> Client:
    return client


def exported(client: Client, path: str) -> list[dict[str, str]]:
    answer: Any = client.get(path)
    assert answer["Content-Type"] == "text/csv; charset=utf-8"
    text = b"".join(answer.streaming_content).decode("utf-8-sig")
    return list(csv.DictReader(io.StringIO(text)))


def row_of(client: Client, path: str, number: str) -> dict[str, str]:
    (found,) = (row for row in exported(client, path) if number in row.values())
    return found


def test_position_has_price_profit_levels_and_distances(world: World, web: Client) -> None:
    gold = world.gold_position
    row = row_of(web, POSITIONS, f"P-{gold.pk}")
    expected = {
        "account": "IBKR", "paper": "no", "feed": world.breakout.name,
        "signal": f"S-{world.gold.pk}", "pair": "XAU/USD", "symbol": "XAUUSD", "side": "SELL",
        "quantity": "15", "opened_quantity": "30", "entry_price": "1286.029",
        "current_price": "1276.024", "unrealized_pnl": "150.075", "currency": "USD",
        "stop_loss": "1286.029", "stop_distance": "1000.5", "targets": "", "target_distance": "",
        "distance_unit": "PIPS", "protection": "Stop at the broker", "unprotected_since": "",
    }  # fmt: skip
    assert {name: row[name] for name in expected} == expected
    assert row["price_time"].endswith("Z")
    assert row["opened_at"].endswith("Z")


def test_position_has_its_next_target_and_the_later_ones(world: World, client: Client) -> None:
    Signal.objects.filter(pk=world.gold.pk).update(
        target_prices=[D(1280), D("1275.5"), D(1270)],
        target_fractions=[D("0.5"), D("0.3"), D("0.2")],
    )
    held = ExecutionPosition.objects.filter(pk=world.gold_position.pk)
    held.update(tp=D("1275.5"), tp_number=2)
    row = row_of(client, POSITIONS, f"P-{world.gold_position.pk}")
    assert (row["targets"], row["target_distance"]) == ("1275.5 1270", "52.4")


def test_position_without_a_price_has_neither_profit_nor_distance(
    world: World, client: Client
) -> None:
    held = ExecutionPosition.objects.filter(pk=world.unprotected.pk)
    since = timezone.now() - timedelta(minutes=1)
    held.update(price_source=None, unprotected_since=since)
    row = row_of(client, POSITIONS, f"P-{world.unprotected.pk}")
    unknown = ("current_price", "price_time", "unrealized_pnl", "stop_distance")
    assert [row[name] for name in unknown] == ["", "", "", ""]
    assert row["protection"] == "Unprotected"
    assert row["unprotected_since"] == since.isoformat().replace("+00:00", "Z")


@pytest.fixture
def newest_first(world: World) -> list[str]:
    """Alice's open positions, read before the tests reach no more than the web process does."""
    mine = ExecutionPosition.objects.open().filter(connection__user=world.alice)
    return [f"P-{pk}" for pk in mine.order_by("-pk").values_list("pk", flat=True)]


def test_only_own_open_positions_that_match_are_exported(
    world: World, newest_first: list[str], web: Client
) -> None:
    assert len(newest_first) == 3
    assert [row["position"] for row in exported(web, POSITIONS)] == newest_first
    gold = exported(web, f"{POSITIONS}?pair=xau&account={world.ibkr.pk}")
    assert [row["position"] for row in gold] == [f"P-{world.gold_position.pk}"]
    for nothing in (f"account={world.bobs.pk}", "account=x", "pair=GBP"):
        assert exported(web, f"{POSITIONS}?{nothing}") == []


def test_working_order_has_what_its_list_shows(world: World, web: Client) -> None:
    (row,) = exported(web, ORDERS)
    expected = {
        "order": f"O-{world.working.pk}", "account": "IBKR", "paper": "no",
        "feed": world.breakout.name, "signal": f"S-{world.euro.pk}", "position": "",
        "pair": "EUR/USD", "side": "SELL", "order_type": "STOP", "leg": "entry",
        "quantity": "84000", "filled_quantity": "0", "price": "1.38564", "market_price": "1.38372",
        "distance": "19.2", "distance_unit": "PIPS", "state": "SUBMITTED", "ended_by": "ENGINE",
        "client_order_id": world.working.client_order_id,
    }  # fmt: skip
    assert {name: row[name] for name in expected} == expected
    assert row["explanation"].startswith("Not filled yet; working at the broker, at 1.38564")
    for query, count in (("kind=entries", 1), ("kind=exits", 0), ("feed=x", 0), ("kind=x", 0)):
        assert len(exported(web, f"{ORDERS}?{query}")) == count, query


@pytest.mark.parametrize("path", [POSITIONS, ORDERS])
def test_text_that_is_a_formula_is_guarded(world: World, client: Client, path: str) -> None:
    ExecutionConnection.objects.filter(pk=world.ibkr.pk).update(name="=SUM(1)")
    Feed.objects.filter(pk=world.breakout.pk).update(name="@cmd")
    row = row_of(client, path, f"S-{world.euro.pk if path == ORDERS else world.gold.pk}")
    assert (row["account"], row["feed"]) == ("'=SUM(1)", "'@cmd")


@pytest.mark.parametrize(
    ("page", "path"),
    [("/positions/", POSITIONS), ("/orders/", ORDERS)],
)
def test_page_links_to_the_file_of_what_it_lists(client: Client, page: str, path: str) -> None:
    assert f'href="{path}?pair=EUR"' in html_of(client.get(f"{page}?pair=EUR&page=1"))


def test_closed_positions_have_no_file_of_open_ones(client: Client) -> None:
    assert POSITIONS not in html_of(client.get("/positions/?state=closed"))


def copies(world: World, count: int) -> None:
    """Add open positions and working orders of other signals."""
    held, order = world.gold_position, world.working
    signals = Signal.objects.bulk_create(
        Signal(feed=world.breakout, currency_pair="XAU/USD", direction="SELL", approval="APPROVED")
        for _ in range(count)
    )
    for signal in signals:
        held.pk = order.pk = None
        held.signal = order.signal = signal
        order.client_order_id = f"c{signal.pk}"
        held._state.adding = order._state.adding = True
        held.save()
        order.save()


@pytest.mark.parametrize(("path", "name"), [(POSITIONS, "position"), (ORDERS, "order")])
def test_parts_add_up_with_the_same_statements_for_each(
    world: World, client: Client, monkeypatch: pytest.MonkeyPatch, path: str, name: str
) -> None:
    copies(world, 7)
    every = exported(client, path)
    assert len({row[name] for row in every}) == len(every) >= 8
    with CaptureQueriesContext(connection) as whole:
        exported(client, path)
    monkeypatch.setattr(open_tables, "CHUNK", 4)
    with CaptureQueriesContext(connection) as parts:
        assert [row[name] for row in exported(client, path)] == [row[name] for row in every]
    assert len(parts) <= len(whole) * (len(every) // 4 + 1)
    assert len(whole) <= 20


def test_position_that_closes_before_it_is_read_is_left_out(
    world: World, newest_first: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(open_tables, "CHUNK", 1)
    rows = OPEN_TABLES["open-positions"].rows(world.alice, {})
    next(rows)
    assert next(rows)[0] == newest_first[0]
    closed = ExecutionPosition.objects.filter(pk=world.unprotected.pk)
    closed.update(quantity=0, closed_at=timezone.now(), close_reason="sl")
    assert [row[0] for row in rows] == [
        number for number in newest_first[1:] if number != f"P-{world.unprotected.pk}"
    ]
