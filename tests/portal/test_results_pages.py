"""The pages of results: figures, filters, empty states, CSV, a month to print, many trades."""

import csv
import io
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from html import unescape
from typing import Any

import pytest
from django.db.models import F

from analytics.models import SignalQuality
from common.clocks import market_now
from connections.models import AccountHistory, AccountSnapshot, CashFlow
from execution.models import Order
from positions.models import ExecutionPosition
from signals.models import Feed, Signal
from tests.analytics import factories
from tests.console.conftest import statements
from tests.html import html_of
from tests.portal.conftest import SignedIn
from tests.portal.factories import D, World

Read = Callable[[str], str]


@pytest.fixture
def read(world: World, signed_in: SignedIn, as_web: None) -> Read:
    """Return a function that opens an address as Alice."""
    client = signed_in(world.alice)

    def page(address: str) -> str:
        response = client.get(address)
        assert response.status_code == 200, (address, response.status_code)
        return str(html_of(response))

    return page


def table(world: World, signed_in: SignedIn, address: str) -> list[dict[str, str]]:
    response: Any = signed_in(world.alice).get(address)
    assert response.status_code == 200
    assert response["Content-Type"] == "text/csv; charset=utf-8"
    text = b"".join(response.streaming_content).decode("utf-8-sig")
    return list(csv.DictReader(io.StringIO(text)))


def readings(world: World, *equities: str) -> None:
    """Give the MT5 account a reading on each of the last days, the latest is its snapshot."""
    now = market_now()
    for back, equity in enumerate(reversed(equities), 1):
        at, amount = now - timedelta(days=back), D(equity)
        AccountHistory.objects.create(
            connection=world.mt5, period_start=at, currency="USD", read_at=at, balance=amount,
            equity=amount, peak_balance=amount, peak_balance_at=at, peak_equity=amount,
            peak_equity_at=at,
        )  # fmt: skip


def test_page_shows_exact_figures_and_until_when_they_count(read: Read) -> None:
    page = read("/results/?period=all")
    assert "−211.50" in page  # −209.10 less 2.40 of commission
    assert "Counted until" in page
    assert "1 closed trade" in page
    assert "no trade was lost" not in page
    assert "0 won, 1 lost" in page
    assert "Macro Breakout" in page
    assert "XAU/USD" in page
    assert "What the figures mean" in page


def test_won_lost_and_broke_even_add_up_to_the_closed_trades(world: World, read: Read) -> None:
    closed = ExecutionPosition.objects.filter(connection=world.mt5, closed_at__isnull=False)
    with_owner(lambda: closed.update(realized_pnl=F("commission") - F("swap")))
    page = read("/results/?period=all")
    assert "1 closed trade" in page
    assert "0 won, 0 lost, 1 broke even" in page


def test_paper_is_a_book_of_its_own(read: Read) -> None:
    assert "Nothing in this period" in read("/results/?period=day&book=USD-paper&on=2020-01-01")
    assert "USD, paper" in read("/results/")


def test_equity_states_deposits_and_gaps(world: World, read: Read) -> None:
    with_owner(lambda: readings(world, "9000", "9100", "9877.80"))
    with_owner(
        lambda: CashFlow.objects.create(
            connection=world.mt5, at=market_now() - timedelta(days=1, hours=3), amount=D(700),
            origin="OWNER",
        )
    )  # fmt: skip
    page = read(f"/results/?period=all&account={world.mt5.pk}")
    assert "700.00" in page
    assert "+177.80" in page  # 9,877.80 − 9,000 − 700
    assert "deposit 700.00 USD" in page
    assert 'role="img"' in page


@pytest.mark.parametrize(("at_the_start", "marks"), [("9870", 0), ("5000", 5)])
def test_figures_that_an_unrecorded_deposit_may_distort_say_so(
    world: World, read: Read, at_the_start: str, marks: int
) -> None:
    with_owner(lambda: readings(world, at_the_start, "9877.80"))
    page = read(f"/results/?period=all&account={world.mt5.pk}")
    assert page.count('may count an <a href="#h-eq">unrecorded deposit</a>') == marks


def with_owner(act: Callable[[], Any]) -> None:
    """Write as the owner of the tables, not as the web process."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("RESET ROLE")
        act()
        cursor.execute("SET ROLE fillcast_web")


@pytest.mark.parametrize(
    "query",
    [
        "period=week", "period=moon&on=x", "period=custom&from=2026-13-01", "book=XXX",
        "account=1", "feed=x&pair=%27", "period=custom&from=2026-03-02&to=2026-01-01",
        "feed=99999999999999999", "period=year&on=2100-12-31", "pair=EUR/USD",
    ],
)  # fmt: skip
def test_wrong_address_shows_ones_own_results(read: Read, query: str) -> None:
    for address in ("/results/", "/results/execution/", "/results/2026/3/"):
        assert "Results" in read(f"{address}?{query}")


def options(page: str) -> dict[str, bool]:
    """The feeds that the filter offers, and whether each is chosen."""
    part = page.split('id="f-feed"')[1].split("</select>")[0]
    found = re.findall(r'<option value="(\d+)"( selected)?>([^<]*)', part)
    return {name.strip(): bool(chosen) for _, chosen, name in found}


def test_filter_of_feeds_keeps_all_feeds_and_the_chosen_one(world: World, read: Read) -> None:
    def trade_of_carry() -> None:
        signal = Signal.objects.create(
            feed=world.carry, currency_pair="NZD/USD", direction="BUY", approval="APPROVED"
        )
        at = market_now()
        factories.trade(world.mt5, signal, closed_at=at, pnl=D(7)).save()

    with_owner(trade_of_carry)
    both = {"Macro Breakout", "Kiwi Carry"}
    assert options(read("/results/?period=all")) == dict.fromkeys(both, False)
    address = f"/results/?period=all&feed={world.carry.pk}"
    assert options(read(address)) == {"Macro Breakout": False, "Kiwi Carry": True}
    only_pair = options(read("/results/?period=all&pair=XAU/USD"))
    assert only_pair == dict.fromkeys(both, False)
    nothing = options(read(f"/results/?period=day&on=2020-01-01&feed={world.carry.pk}"))
    assert nothing == {"Kiwi Carry": True}  # so that "Show" does not drop it


def test_name_of_anothers_private_feed_is_not_shown(world: World, read: Read) -> None:
    page = read(f"/results/?period=all&feed={world.bobs_own.pk}")
    assert options(page)[f"Feed {world.bobs_own.pk}"]
    assert world.bobs_own.name not in page


def test_account_of_another_tenant_is_not_named(world: World, read: Read) -> None:
    page = read(f"/results/?period=all&account={world.bobs.pk}")
    assert "NZD/USD" not in page
    assert "Bob" not in page


def test_user_without_accounts_sees_what_to_do(
    world: World, signed_in: SignedIn, as_web: None
) -> None:
    page = html_of(signed_in(world.nora).get("/results/"))
    assert "No results yet" in page
    assert "Add an account" in page
    response: Any = signed_in(world.nora).get("/results/trades.csv")
    assert b"".join(response.streaming_content) == b""


def test_month_is_laid_out_for_paper(read: Read) -> None:
    now = market_now()
    page = read(f"/results/{now.year}/{now.month}/")
    assert f"Results of {now:%B %Y}" in page
    assert "fc-screen" in page


@pytest.mark.parametrize(
    ("address", "days"),
    [
        ("/results/2026/3/", "2026-03-01-2026-03-31"),
        ("/results/2026/3/?period=year&on=2026-01-01", "2026-03-01-2026-03-31"),
        ("/results/2026/3/?period=custom&from=2026-01-05&to=2026-02-05", "2026-03-01-2026-03-31"),
        ("/results/?period=week&on=2026-03-04", "2026-03-02-2026-03-08"),
        ("/results/?period=custom&from=2026-02-28&to=2026-03-05", "2026-02-28-2026-03-05"),
        ("/results/execution/?period=month&on=2026-03-04&before=5", "2026-03-01-2026-03-31"),
    ],
)
def test_tables_of_a_page_are_of_its_period(
    world: World, signed_in: SignedIn, address: str, days: str
) -> None:
    """Also of the printed month, whose period is in its path and not in its query."""
    at = datetime(2026, 3, 4, 12, tzinfo=UTC)
    ExecutionPosition.objects.filter(connection=world.mt5, closed_at__isnull=False).update(
        opened_at=at - timedelta(hours=1), closed_at=at
    )
    client = signed_in(world.alice)
    page = html_of(client.get(address))
    links = re.findall(r'href="(/results/[a-z]+\.csv\?[^"]*)"', page)
    assert len(links) >= (1 if "execution/" in address else 7), links
    for link in links:
        response: Any = client.get(unescape(link))
        assert f"-{days}.csv" in response["Content-Disposition"], link
        assert len(b"".join(response.streaming_content).splitlines()) >= 1


def test_definitions_are_linked_from_each_figure(read: Read) -> None:
    page, definitions = read("/results/?period=all"), read("/results/definitions/")
    for slug in ("net-result", "sharpe", "sortino", "calmar", "streaks", "costs", "execution"):
        assert f"/results/definitions/#{slug}" in page
        assert f'id="{slug}"' in definitions


def test_each_table_is_a_csv(world: World, signed_in: SignedIn, as_web: None) -> None:
    (trade,) = table(world, signed_in, "/results/trades.csv?period=all")
    assert (trade["net"], trade["commission"], trade["currency"]) == ("-211.5", "2.4", "USD")
    assert trade["closed_at"].endswith("Z")
    for name, key in (("feed", "Macro Breakout"), ("pair", "XAU/USD"), ("account", "Main MT5")):
        (row,) = table(world, signed_in, f"/results/{name}.csv?period=all")
        assert (row[name], row["net"], row["win_rate"]) == (key, "-211.5", "0")
    for name in ("days", "months", "hour", "costs", "equity", "execution"):
        table(world, signed_in, f"/results/{name}.csv?period=all")
    assert signed_in(world.alice).get("/results/nothing.csv").status_code == 404


def test_name_that_is_a_formula_is_text_in_the_csv(world: World, signed_in: SignedIn) -> None:
    Feed.objects.filter(pk=world.breakout.pk).update(name='=HYPERLINK("http://x","y")')
    (row,) = table(world, signed_in, "/results/feed.csv?period=all")
    assert row["feed"] == '\'=HYPERLINK("http://x","y")'


def test_median_is_shown_only_with_five_other_persons(world: World, read: Read) -> None:
    def medians(persons: int) -> None:
        SignalQuality.objects.update_or_create(
            signal=world.gold,
            defaults={"persons": persons, "unit": "PIPS", "slippage": D("0.7"), "bps": D("0.31"),
                      "to_wire_ms": D(40), "to_fill_ms": D(90)},
        )  # fmt: skip

    address = "/results/execution/?period=all"
    with_owner(lambda: medians(5))  # one of them is Alice
    assert "+0.31" not in read(address)
    with_owner(lambda: medians(6))
    page = read(address)
    assert "all +0.31" in page
    assert f"/signals/{world.gold.pk}/" in page


def test_own_execution_is_compared_with_the_same_kind_of_money(world: World, read: Read) -> None:
    """Alice sold the euro with real money and on a paper account."""

    def median(*, is_paper: bool, bps: str) -> None:
        SignalQuality.objects.create(
            signal=world.euro, is_paper=is_paper, persons=6, unit="PIPS", bps=D(bps)
        )

    with_owner(lambda: median(is_paper=False, bps="1.25"))
    with_owner(lambda: median(is_paper=True, bps="0.11"))
    real = read("/results/execution/?period=all&book=USD")
    assert "all +1.25" in real
    assert "+0.11" not in real
    assert "with real money" in real
    paper = read("/results/execution/?period=all&book=USD-paper")
    assert "all +0.11" in paper
    assert "+1.25" not in paper
    assert "on paper accounts" in paper


def test_sum_of_slippage_says_of_how_many_signals_it_is(world: World, read: Read) -> None:
    """What is not known is no slippage of zero."""
    address = "/results/execution/?period=all"
    whole = " ".join(read(address).split())
    assert "My slippage of all: 124.00 USD" in whole  # 40,000 sold 31 pips below 1.38564
    gold = Order.objects.filter(signal=world.gold)
    with_owner(lambda: gold.update(slippage_pips=None))
    part = " ".join(read(address).split())
    assert "2 signals filled" in part
    assert "My slippage of the 1 of which it is known: 124.00 USD" in part


def test_execution_is_listed_by_publication_not_by_number(world: World, read: Read) -> None:
    """A draft keeps the number of when it was written."""
    later = market_now() + timedelta(seconds=5)
    with_owner(lambda: Signal.objects.filter(pk=world.gold.pk).update(published_at=later))
    address = "/results/execution/?period=all"
    page = read(address)
    gold, euro = (page.index(f"/signals/{one.pk}/") for one in (world.gold, world.euro))
    assert gold < euro
    following = read(f"{address}&before={world.gold.pk}")
    assert f"/signals/{world.gold.pk}/" not in following
    assert f"/signals/{world.euro.pk}/" in following
    assert f"/signals/{world.euro.pk}/" not in read(f"{address}&before={world.euro.pk}")


def test_page_is_fast_with_ten_thousand_trades(world: World, signed_in: SignedIn) -> None:
    now = datetime.now(UTC)
    signals = Signal.objects.bulk_create(
        Signal(feed=world.breakout, currency_pair="EUR/USD", direction="BUY", approval="APPROVED")
        for _ in range(200)
    )
    ExecutionPosition.objects.bulk_create(
        ExecutionPosition(
            connection=world.mt5, signal=signal, entry_leg=f"entry-{n}", pair="EUR/USD",
            symbol="EURUSD", side="BUY", quantity=D(0), opened_quantity=D(1000),
            entry_price=D("1.1"), pip=D("0.0001"), conversion_rate=D(1), realized_pnl=D(n % 7 - 3),
            opened_at=now - timedelta(days=n, hours=2), closed_at=now - timedelta(days=n, hours=1),
        )
        for signal in signals
        for n in range(5)
    )  # fmt: skip
    client = signed_in(world.alice)
    with statements() as sent:
        page = html_of(client.get("/results/?period=all"))
    assert "1,001 closed trades" in page
    assert len(sent) <= 30, sent
    rows = table(world, signed_in, "/results/trades.csv?period=all")
    assert len(rows) == 1001
    assert sum((Decimal(row["net"]) for row in rows), D(0)) == D("-1211.5")


def test_latest_reading_states_until_when_equity_counts(world: World, read: Read) -> None:
    at = datetime(2026, 3, 5, 12, 30, 15, tzinfo=UTC)
    with_owner(lambda: AccountSnapshot.objects.filter(connection=world.mt5).update(read_at=at))
    page = read(f"/results/?period=all&account={world.mt5.pk}")
    assert "No account was read twice" in page
