"""The history: search, pages by key, exports, and only one's own rows."""

import csv
import io
import json
import re
from datetime import datetime, timedelta
from html import unescape
from typing import Any

import pytest
from django.db import connection
from django.test import Client

from analytics.history import rows as history
from analytics.history.rows import HistoryFilter, _accounts
from common.clocks import market_now
from common.db.sql import rows
from connections.models import AccountSnapshot
from execution.models import Order
from positions.models import ExecutionPosition
from signals.models import Signal
from tests.analytics.factories import trade
from tests.html import html_of
from tests.portal.conftest import SignedIn
from tests.portal.factories import D, World

pytestmark = pytest.mark.django_db


@pytest.fixture
def client(world: World, signed_in: SignedIn) -> Client:
    return signed_in(world.alice)


def downloaded(client: Client, path: str) -> str:
    response: Any = client.get(path)
    return b"".join(response.streaming_content).decode("utf-8-sig")


def exported(client: Client, path: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(downloaded(client, path))))


@pytest.mark.parametrize("table", ["signals", "orders", "trades"])
def test_each_tab_shows_own_rows_only(world: World, client: Client, table: str) -> None:
    page = html_of(client.get(f"/history/{table}/"))
    assert f'aria-current="page">{table.capitalize()}' in page
    mine = exported(client, f"/history/{table}.csv")
    assert mine
    if table == "orders":
        own = Order.objects.filter(connection__user=world.alice)
        numbers = {f"O-{pk}" for pk in own.values_list("pk", flat=True)}
        assert {row["order"] for row in mine} == numbers


@pytest.mark.parametrize(
    ("table", "filter_label", "column"),
    [
        ("signals", "Action", "Trade plan"),
        ("orders", "State", "Slippage"),
        ("trades", "Closed by", "Entry price"),
    ],
)
def test_filter_and_columns_have_words(
    client: Client, table: str, filter_label: str, column: str
) -> None:
    page = html_of(client.get(f"/history/{table}/"))
    assert f'<label for="f-state">{filter_label}</label>' in page
    assert f'<th scope="col">{column}</th>' in page


def test_unknown_table_is_missing(client: Client) -> None:
    for path in ("/history/passwords/", "/history/passwords.csv"):
        assert client.get(path).status_code == 404


def test_search_narrows_by_each_field(world: World, client: Client) -> None:
    every = exported(client, "/history/orders.csv")
    one = Order.objects.filter(connection__user=world.alice).exclude(signal=None)[0]
    assert one.signal_id is not None
    Signal.objects.filter(pk=one.signal_id).update(trade_plan_id="plan-7")
    for query, matches in (
        (f"q=O-{one.pk}", lambda row: row["order"] == f"O-{one.pk}"),
        ("q=plan-7", lambda row: row["signal"] == f"S-{one.signal_id}"),
        (f"pair={one.pair}", lambda row: row["pair"] == one.pair),
        (f"state={one.status}", lambda row: row["state"] == one.status),
        (f"account={one.connection_id}", lambda row: row["account"] == one.connection.name),
        ("from=2199-01-01", lambda row: False),
        ("to=1999-01-01", lambda row: False),
    ):
        found = exported(client, f"/history/orders.csv?{query}")
        assert [row["order"] for row in found] == [row["order"] for row in every if matches(row)], (
            query
        )


def test_anothers_account_finds_nothing(world: World, client: Client) -> None:
    assert exported(client, f"/history/orders.csv?account={world.bobs.pk}") == []
    assert "Nothing matches" in html_of(client.get(f"/history/orders/?account={world.bobs.pk}"))


@pytest.mark.parametrize(
    "query",
    [
        "account=x",
        "feed=x",
        "before=-1",
        "from=x",
        "to=0001-01-01",
        "q=%27%22%25",
        "state=x",
    ],
)
def test_unreadable_search_is_no_error(client: Client, query: str) -> None:
    assert client.get(f"/history/orders/?{query}").status_code == 200


def many(world: World, count: int) -> None:
    rows(
        "INSERT INTO execution_order (connection_id, signal_id, leg, pair, side, order_type,"
        " time_in_force, status, done_at, reason)"
        " SELECT %s, %s, 'entry-' || n + %s, 'EUR/USD', 'BUY', 'MARKET', 'GTC',"
        " 'DENIED', clock_timestamp(), 'MAX_LEVERAGE' FROM generate_series(1, %s) n RETURNING id",
        (world.mt5.pk, world.euro.pk, Order.objects.count(), count),
    )


def test_pages_are_cut_by_key_and_miss_nothing(world: World, client: Client) -> None:
    many(world, 120)
    seen: list[str] = []
    path = "/history/orders/?q=MAX_LEVERAGE"
    for _ in range(4):
        response: Any = client.get(path)
        found = [row["order"] for row in response.context_data["rows"]]
        seen += found
        if response.context_data["before"] is None:
            break
        path = f"/history/orders/?q=MAX_LEVERAGE&before={response.context_data['before']}"
        many(world, 1)  # what comes meanwhile moves no page
    assert len(seen) == len(set(seen)) >= 120


def closed(world: World, *moments: datetime) -> list[str]:
    """Trades of Alice that closed at these times, numbered in this order."""
    trades, before = [], ExecutionPosition.objects.count()
    for number, at in enumerate(moments):
        made = trade(world.mt5, world.euro, closed_at=at, pnl=D(5), commission=D("0.4"))
        made.entry_leg = f"entry-{before}-{number}"
        made.unconverted_fees = {"BNB": "0.002"}
        trades.append(made)
    return [f"P-{one.pk}" for one in ExecutionPosition.objects.bulk_create(trades)]


def walked(client: Client, path: str, column: str) -> list[str]:
    """The first column of all pages of the portal, one after another."""
    seen: list[str] = []
    address = path
    while True:
        response: Any = client.get(address)
        seen += [row[column] for row in response.context_data["rows"]]
        before = response.context_data["before"]
        if before is None:
            return seen
        address = f"{path}?before={before}"


def test_trades_are_in_the_order_in_which_they_closed(world: World, client: Client) -> None:
    """A trade that was opened long ago and closed just now is the first one."""
    now = market_now() + timedelta(hours=1)
    same = [now - timedelta(days=5)] * 60  # as a close of everything does
    first, second, *others = closed(world, now, now - timedelta(days=1), *same)
    expected = [first, f"P-{world.closed.pk}", second, *reversed(others)]
    assert walked(client, "/history/trades/", "position") == expected
    assert [row["position"] for row in exported(client, "/history/trades.csv")] == expected
    listed = client.get("/api/v1/history/trades/").json()
    assert [row["position"] for row in listed["results"]] == expected
    later = client.get(f"/api/v1/history/trades/?before={second[2:]}").json()
    assert [row["position"] for row in later["results"]] == expected[3:]


def test_export_of_trades_goes_on_where_a_part_ended(
    world: World, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "CHUNK", 7)
    at = market_now() - timedelta(days=5)
    made = closed(world, *(at + timedelta(minutes=n // 5) for n in range(30)))
    found = [row["position"] for row in exported(client, "/history/trades.csv")]
    assert found == [f"P-{world.closed.pk}", *reversed(made)]


def test_trade_that_was_opened_again_is_no_end_of_the_list(world: World, client: Client) -> None:
    """A broker's correction can reopen the trade that a page ended with: rows may come twice."""
    at = market_now() - timedelta(days=5)
    older, last = closed(world, at - timedelta(days=1), at)
    ExecutionPosition.objects.filter(pk=last[2:]).update(closed_at=None, quantity=D(10))
    listed = client.get(f"/api/v1/history/trades/?before={last[2:]}").json()
    assert older in [row["position"] for row in listed["results"]]


def test_signals_are_in_the_order_of_their_publication(world: World, client: Client) -> None:
    """A draft is numbered when it is written, and published later."""
    later = market_now() + timedelta(minutes=1)
    Signal.objects.filter(pk=world.gold.pk).update(published_at=later)
    gold, euro = (f"S-{one.pk}" for one in (world.gold, world.euro))
    assert walked(client, "/history/signals/", "signal") == [gold, euro]
    assert [row["signal"] for row in exported(client, "/history/signals.csv")] == [gold, euro]
    following = client.get(f"/api/v1/history/signals/?before={world.gold.pk}").json()
    assert [row["signal"] for row in following["results"]] == [euro]


@pytest.mark.parametrize("kind", ["signals", "trades"])
def test_after_an_unknown_row_there_is_none(world: World, client: Client, kind: str) -> None:
    """A program that pages must not get the first page again."""
    assert client.get(f"/api/v1/history/{kind}/").json()["results"]
    assert client.get(f"/api/v1/history/{kind}/?before=999999999").json()["results"] == []


def test_money_has_its_currency(world: World, client: Client) -> None:
    closed(world, market_now() + timedelta(hours=1))
    AccountSnapshot.objects.filter(connection=world.mt5).update(currency="JPY")
    row = exported(client, "/history/trades.csv")[0]
    assert (row["net"], row["currency"], row["fees_not_included"]) == ("4.6", "JPY", "0.002 BNB")
    assert '<td class="one" data-l="Currency">JPY</td>' in html_of(client.get("/history/trades/"))
    own = {row["account"]: row["currency"] for row in exported(client, "/history/orders.csv")}
    assert (own["Main MT5"], own["IBKR"], own["Binance spot"]) == ("JPY", "USD", "")


def test_pair_is_searched_by_a_part_as_in_other_lists(world: World, client: Client) -> None:
    for table in ("signals", "orders", "trades"):
        pairs = {row["pair"] for row in exported(client, f"/history/{table}.csv?pair=xau")}
        assert pairs == {"XAU/USD"}


def test_closed_positions_have_a_csv_of_what_their_page_shows(world: World, client: Client) -> None:
    closed(world, market_now())
    page = html_of(client.get(f"/positions/?state=closed&pair=xau&account={world.mt5.pk}"))
    (link,) = re.findall(r'href="(/history/trades\.csv[^"]*)"', page)
    rows_ = exported(client, unescape(link))
    assert [row["position"] for row in rows_] == [f"P-{world.closed.pk}"]


def test_export_is_safe_and_equal_in_both_forms(world: World, client: Client) -> None:
    Signal.objects.update(note="=HYPERLINK(1)")
    lines = exported(client, "/history/signals.csv")
    listed: Any = client.get("/history/signals.json")
    named = json.loads(b"".join(listed.streaming_content))
    assert {row["note"] for row in lines} == {"'=HYPERLINK(1)"}
    assert {row["note"] for row in named} == {"=HYPERLINK(1)"}
    assert [row["signal"] for row in lines] == [row["signal"] for row in named]


def test_page_reads_an_index_of_each_account(world: World, client: Client) -> None:
    many(world, 3_000)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE execution_order")
    parts = [
        Order.objects.filter(connection=pk).order_by("-pk").values_list("pk", flat=True)[:51]
        for pk in _accounts(world.alice, HistoryFilter())
    ]
    plan = parts[0].union(*parts[1:], all=True).order_by("-pk")[:51].explain()
    assert "Seq Scan" not in plan, plan
    assert len(parts) > 1


def test_page_of_trades_reads_an_index_from_its_key_on(world: World) -> None:
    """In the order of their close, from the newest on, and from a key on."""
    at = market_now()
    closed(world, *(at - timedelta(minutes=n) for n in range(3_000)))
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE positions_executionposition")
    middle = ExecutionPosition.objects.filter(connection=world.mt5).order_by("-closed_at")[1_500]
    for wanted in (HistoryFilter(), HistoryFilter(before=middle.pk, before_at=middle.closed_at)):
        key = history._after_key(wanted, "closed_at", lambda _: None)
        found = ExecutionPosition.objects.filter(key, connection=world.mt5, closed_at__isnull=False)
        plan = found.order_by("-closed_at", "-pk").values_list("closed_at", "pk")[:51].explain()
        assert "Index Scan Backward using position_closed" in plan, plan
        assert "Incremental Sort" in plan, plan  # of those that closed at the same time


def test_page_takes_few_queries(
    world: World, client: Client, django_assert_max_num_queries: Any
) -> None:
    for table in ("signals", "orders", "trades"):
        with django_assert_max_num_queries(20):
            client.get(f"/history/{table}/")


def test_api_has_the_same(world: World, client: Client) -> None:
    for table in ("signals", "orders", "trades"):
        listed = client.get(f"/api/v1/history/{table}/").json()
        lines = exported(client, f"/history/{table}.csv")
        first = listed["results"][0]
        assert {name: text or "" for name, text in first.items()} == lines[0]
        assert exported(client, f"/api/v1/history/{table}/?format=csv") == lines
    many(world, 150)
    page = client.get("/api/v1/history/orders/").json()
    assert len(page["results"]) == 100
    following = client.get(f"/api/v1/history/orders/?before={page['next_before']}").json()
    assert following["results"][0]["order"] != page["results"][-1]["order"]
    assert client.get("/api/v1/history/passwords/").status_code == 404
