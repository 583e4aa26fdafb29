"""The page of a preflight: ask, follow, read the result, go on to subscribe."""

import csv
import io
import re
from datetime import timedelta
from decimal import Decimal
from html import unescape
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from analytics.models import Preflight
from analytics.preflight import jobs
from common.clocks import market_now
from connections.models import ExecutionConnection
from execution.models import Order
from prices.models import PriceBar
from prices.selectors import minute_of
from signals.models import Approval, Feed, Signal
from tests.execution import factories
from tests.portal.conftest import SignedIn
from tests.portal.factories import World
from users.tenancy import for_all_tenants

pytestmark = pytest.mark.django_db
D = Decimal


@pytest.fixture
def alice(signed_in: SignedIn, world: World) -> Client:
    return signed_in(world.alice)


def text(answer: Any) -> str:
    """The page with single spaces."""
    return " ".join(answer.content.decode().split())


def page(world: World) -> str:
    return f"{reverse('portal:preflight', args=[world.carry.slug])}?account={world.mt5.pk}"


def asked(alice: Client, world: World, **choices: str) -> None:
    values = {
        "account": str(world.mt5.pk), "multiplier": "1", "directions": "BOTH", "signals": "50",
    } | choices  # fmt: skip
    answer = alice.post(page(world), values)
    assert (answer.status_code, answer["Location"]) == (302, page(world))


def published(world: World) -> None:
    """Two buys of half an hour ago with prices of then; the stop of one is too near to matter."""
    factories.instrument("EUR/USD", book=world.mt5.instrument_book)
    at = market_now() - timedelta(minutes=30)
    for back in range(28, 34):
        minute = minute_of(market_now()) - timedelta(minutes=back)
        PriceBar.objects.create(
            data_connection_id=world.mt5.data_connection_id or 0, symbol="EUR/USD", minute=minute,
            **{f"bid_{name}": D("1.38") for name in ("open", "high", "low", "close")},
            **{f"ask_{name}": D("1.3801") for name in ("open", "high", "low", "close")},
            spread_sum=D("0.0001"), quote_count=1, first_at=minute, last_at=minute,
        )  # fmt: skip
    for stop in (D("1.37"), None):
        Signal.objects.create(
            feed=world.carry, published_at=at, currency_pair="EUR/USD", direction="BUY",
            approval=Approval.APPROVED, sl=stop,
        )  # fmt: skip


def test_tenant_runs_a_preflight_and_reads_it(alice: Client, world: World) -> None:
    with for_all_tenants():
        ExecutionConnection.objects.filter(pk=world.mt5.pk).update(instrument_book="book")
        world.mt5.refresh_from_db()
        published(world)
        Feed.objects.filter(pk=world.carry.pk).update(owner=world.alice)  # sees what is new there
    before = alice.get(page(world)).content.decode()
    assert "Not run yet" in before
    asked(alice, world)
    waiting = alice.get(page(world)).content.decode()
    assert 'hx-trigger="every 1s"' in waiting
    assert "<progress" in waiting
    with for_all_tenants():
        assert jobs.run_next()
        assert not Order.objects.filter(signal__feed=world.carry, connection=world.mt5).exists()
    shown = alice.get(page(world)).content.decode()
    assert "1 + 1 denied + 1 not replayed" in shown  # no price of then is kept of the kiwi
    assert "STOP_REQUIRED" in shown
    assert "What this does not cover" in shown
    assert "recorded prices of this account’s source (2)" in shown
    assert "hx-trigger" not in shown.split('id="preflight"')[1].split(">")[0]
    assert "9,780 → 9,780" in shown  # 1 % of 9,877.80 over 101 pips
    assert "−0.98" in shown  # still open, at the bid
    link = f"{reverse('portal:subscribe', args=[world.carry.slug])}?account={world.mt5.pk}"
    assert link.replace("&", "&amp;") in shown


def ready(world: World, **found: object) -> None:
    """A finished preflight as the job stores it, with these figures."""
    zeros = dict.fromkeys(("equity", "result", "closed", "open", "drawdown"), "0")
    counts = dict.fromkeys(
        ("signals", "withheld", "traded", "not_filled", "fill_unknown", "denied", "not_replayed",
         "results_known"), 0,
    )  # fmt: skip
    stored = {
        "until": market_now().isoformat(), "since": None, "currency": "USD", "balance": "1000",
        "result_percent": "0", "drawdown_percent": "0", "drawdown_from": None, "drawdown_at": None,
        "most_risk_percent": "0", "max_risk_percent": "", "rounding_percent": "0", "reasons": [],
        "debts": [], "curve": [], "bases": {}, "result_bases": {}, "rows": [],
        **zeros, **counts, **found,
    }  # fmt: skip
    with for_all_tenants():
        Preflight.objects.update_or_create(
            connection=world.mt5, feed=world.carry,
            defaults={"state": "ready", "signals_wanted": 100, "directions": "BOTH",
                      "result": stored},
        )  # fmt: skip


def test_result_states_of_how_many_trades_it_is_known(alice: Client, world: World) -> None:
    ready(
        world, signals=100, traded=80, results_known=50, fill_unknown=3, not_filled=2, denied=15,
        result_bases={"recorded": 50, "unknown": 35}, result="12.5", result_percent="1.3",
        drawdown="4", drawdown_percent="0.4",
    )  # fmt: skip
    shown = text(alice.get(page(world)))
    assert (
        "Of 100 signals this account would have traded 80. The result of 50 of these trades is"
        " known: together they gained 12.50 USD (1.3 %); by these the equity would have fallen by"
        " 4.00 USD (0.4 %) at most. 2 more would have been placed, but not filled: their price"
        " never came. Of 3 more that would have been placed it is not known if they were filled."
    ) in shown
    assert shown.count("known of 50 of 80 trades") == 1
    assert "of the trades whose result is known" in shown
    assert (
        "Results are by: recorded prices of this account’s source (50); no price of then is kept"
        " (35)."
    ) in shown
    assert "80 + 2 placed, not filled + 3 placed, their fill not known + 15 denied" in shown


def test_unknown_result_is_not_shown_as_zero(alice: Client, world: World) -> None:
    unknown = dict.fromkeys(("equity", "result", "result_percent", "closed", "open", "drawdown",
                             "drawdown_percent", "most_risk_percent"))  # fmt: skip
    ready(world, signals=5, traded=5, **unknown)
    shown = text(alice.get(page(world)))
    assert "The result of none of these trades is known" in shown
    assert "gained" not in shown.split("<dl")[0]
    assert "0.00" not in shown.split("What this does not cover")[0].split("would have traded")[1]


def test_signals_that_are_for_subscribers_are_named(alice: Client, world: World) -> None:
    ready(world, withheld=2)
    shown = text(alice.get(page(world)))
    assert "2 signals of the last 24 hours are for subscribers only" in shown
    assert "has published no signal yet" not in shown
    ready(world)
    assert "has published no signal yet" in text(alice.get(page(world)))


def test_signals_are_a_csv(alice: Client, world: World) -> None:
    row = {
        "signal": 7, "at": "2026-03-02T09:00:20+00:00", "pair": "BTC/USD", "side": "BUY",
        "type": "MARKET", "stop": "100", "stop_unit": "BPS", "wanted": "0.0312", "sent": "0.031",
        "loss": "0.6", "code": "", "detail": "", "note": "", "price": "64000",
        "result": "-3.1", "fate": "traded", "state": "closed", "basis": "recorded",
        "basis_text": "", "result_basis": "feed", "explanation": "",
    }  # fmt: skip
    ready(world, signals=1, traded=1, results_known=1, rows=[row])
    shown = text(alice.get(page(world)))
    assert "100 basis points" in shown
    (link,) = re.findall(r'href="([^"]*preflight\.csv[^"]*)"', shown)
    answer: Any = alice.get(unescape(link))
    (found,) = csv.DictReader(io.StringIO(b"".join(answer.streaming_content).decode("utf-8-sig")))
    assert (found["signal"], found["stop_distance"], found["stop_unit"]) == ("S-7", "100", "BPS")
    assert (found["result"], found["currency"], found["fate"]) == ("-3.1", "USD", "traded")
    none: Any = alice.get(f"/feeds/{world.breakout.slug}/preflight.csv?account={world.mt5.pk}")
    assert len(b"".join(none.streaming_content).splitlines()) == 1


def test_result_of_an_earlier_version_is_run_again(alice: Client, world: World) -> None:
    ready(world)
    with for_all_tenants():
        Preflight.objects.update(result={"traded": 80, "result": "0.00"})
    shown = text(alice.get(page(world)))
    assert "Run it again" in shown
    assert "computed by an earlier version of Fillcast" in shown


def test_part_that_follows_the_progress_is_a_part(alice: Client, world: World) -> None:
    asked(alice, world)
    part = alice.get(page(world), headers={"HX-Request": "true"}).content.decode()
    assert part.lstrip().startswith("<div")
    assert "<html" not in part


def test_invalid_choices_are_shown_at_their_fields(alice: Client, world: World) -> None:
    answer = alice.post(
        page(world), {"account": str(world.mt5.pk), "multiplier": "0", "directions": "BOTH",
                      "signals": "5000"},
    )  # fmt: skip
    assert answer.status_code == 422
    assert not Preflight.objects.exists()


def test_another_tenants_account_and_preflight_are_not_reached(
    alice: Client, signed_in: SignedIn, world: World
) -> None:
    asked(alice, world)
    bob = signed_in(world.bob)
    shown = bob.get(page(world)).content.decode()
    assert str(world.mt5.pk) not in shown
    answer = bob.post(
        page(world), {"account": str(world.mt5.pk), "multiplier": "1", "directions": "BOTH",
                      "signals": "5"},
    )  # fmt: skip
    assert answer.status_code == 422


def test_page_needs_few_queries(alice: Client, world: World) -> None:
    with for_all_tenants():
        ExecutionConnection.objects.filter(pk=world.mt5.pk).update(instrument_book="book")
        world.mt5.refresh_from_db()
        published(world)
    asked(alice, world)
    with for_all_tenants():
        jobs.run_next()
    with CaptureQueriesContext(connection) as queries:
        alice.get(page(world))
    own = [q for q in queries.captured_queries if "preflight" in q["sql"] or "subscri" in q["sql"]]
    assert len(own) <= 6, [q["sql"][:90] for q in own]


def test_subscribing_takes_the_choices_over(alice: Client, world: World) -> None:
    address = reverse("portal:subscribe", args=[world.carry.slug])
    shown = alice.get(f"{address}?account={world.mt5.pk}&multiplier=0.25&directions=SELL")
    assert 'value="0.25"' in shown.content.decode()
