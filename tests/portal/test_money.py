"""Every page shows an account's money with the decimals of its currency."""

import re
from decimal import Decimal as D

import pytest
from django.urls import reverse

from connections.models import AccountSnapshot
from execution.models import Fill, Order
from tests.html import html_of
from tests.portal.conftest import SignedIn
from tests.portal.factories import World

pytestmark = pytest.mark.django_db
NOT_OF = {"JPY": r"\d\.\d+\s*JPY", "BTC": r"(?<![\d.,])\d(?:[\d,]*\d)?(?:\.\d{1,7})?\s+BTC\b"}


def text_of(page: str) -> str:
    """Return the text of a page, its chart descriptions included."""
    described = " ".join(re.findall(r'aria-label="([^"]*)"', page))
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page) + " " + described)


@pytest.fixture(params=["JPY", "BTC"])
def currency(request: pytest.FixtureRequest, world: World) -> str:
    AccountSnapshot.objects.update(currency=request.param)
    return str(request.param)


def test_account_page_has_the_decimals_of_its_currency(
    world: World, signed_in: SignedIn, currency: str
) -> None:
    page = text_of(html_of(signed_in(world.alice).get(f"/accounts/{world.mt5.pk}/")))
    equity = {"JPY": "9,878 JPY", "BTC": "9,877.80000000 BTC"}[currency]
    assert page.count(equity) >= 2, "equity and free margin"
    assert f"balance {equity.removesuffix(f' {currency}')};" in page
    assert not re.search(NOT_OF[currency], page)


def test_page_of_a_signal_has_the_decimals_of_its_currency(
    world: World, signed_in: SignedIn, currency: str
) -> None:
    order = world.euro_order
    Order.objects.filter(pk=order.pk).update(risk=D("100.4"), margin=D("3000.4"))
    fill = Fill.objects.filter(order=order).earliest("pk")
    Fill.objects.filter(pk=fill.pk).update(swap=D("-2.4"))
    address = reverse("portal:signal", args=[order.signal_id])
    page = text_of(html_of(signed_in(world.alice).get(f"{address}?order={order.pk}")))
    cost, swap, risk = {
        "JPY": ("124 JPY", "−2 JPY", "100 JPY at risk"),
        "BTC": ("124.00000000 BTC", "−2.40000000 BTC", "100.40000000 BTC at risk"),
    }[currency]
    assert f"the difference cost {cost}." in page
    assert f"Swap {swap}, booked" in page
    assert risk in page
    assert not re.search(NOT_OF[currency], page)


def test_small_slippage_of_a_coin_account_is_stated(world: World, signed_in: SignedIn) -> None:
    AccountSnapshot.objects.update(currency="BTC")
    Order.objects.filter(pk=world.euro_order.pk).update(conversion_rate=D("0.00000001"))
    address = reverse("portal:signal", args=[world.euro_order.signal_id])
    assert "the difference cost 0.00000124 BTC." in text_of(
        html_of(signed_in(world.alice).get(address))
    )


@pytest.mark.parametrize("path", ["/", "/results/", "/positions/", "/accounts/"])
def test_other_pages_have_the_decimals_of_their_currency(
    world: World, signed_in: SignedIn, currency: str, path: str
) -> None:
    page = text_of(html_of(signed_in(world.alice).get(path)))
    assert currency in page
    assert not re.search(NOT_OF[currency], page)


def test_expectancy_has_the_decimals_of_its_currency(
    world: World, signed_in: SignedIn, currency: str
) -> None:
    page = html_of(signed_in(world.alice).get("/results/?period=all"))
    shown = re.search(r'Expectancy</a>.*?<dd class="fc-big">([^<]+)</dd>', page, re.DOTALL)
    assert shown, page
    places = {"JPY": r"[−+]?[\d,]+", "BTC": r"[−+]?[\d,]+\.\d{8}"}[currency]
    assert re.fullmatch(places, shown[1].strip()), shown[1]


def test_console_shows_money_with_the_decimals_of_its_currency(
    world: World, signed_in: SignedIn, currency: str
) -> None:
    page = text_of(
        html_of(
            signed_in(world.olga).get(
                reverse("admin:connections_executionconnection_page", args=[world.mt5.pk])
            )
        )
    )
    assert {"JPY": "9,878 JPY", "BTC": "9,877.80000000 BTC"}[currency] in page
