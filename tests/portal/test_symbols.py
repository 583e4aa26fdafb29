"""The symbols of an account in the portal: sizes, and when their markets are open."""

from datetime import UTC, datetime, timedelta

import pytest

from common.clocks import market_now
from connections.models import ExecutionConnection, Instrument
from tests.connections import make
from tests.html import html_of
from tests.portal.conftest import SignedIn
from tests.portal.factories import World
from users.tenancy import for_all_tenants

pytestmark = pytest.mark.django_db


@pytest.fixture
def listed(world: World) -> World:
    """Alice's account lists a share whose exchange is open, and one without hours."""
    now = market_now()
    known, opened = (
        [int((now + timedelta(hours=hour)).timestamp()) for hour in span]
        for span in ((-9, 9), (-1, 2))
    )
    with for_all_tenants():
        make.instrument("AAPL", "AAPL/USD", book="mt5:x", exchange="XNYS",
                        hours={"known": [known], "open": [opened]})  # fmt: skip
        make.instrument("SAP.de", "SAP/EUR", book="mt5:x")
        make.instrument("OTHER", "OTHER/USD", book="mt5:bob")
        ExecutionConnection.objects.filter(pk=world.mt5.pk).update(instrument_book="mt5:x")
    return world


def test_owner_sees_the_market_of_each_symbol(
    listed: World, as_web: None, signed_in: SignedIn
) -> None:
    client = signed_in(listed.alice)
    assert "sizes and market hours" in html_of(client.get(f"/accounts/{listed.mt5.pk}/"))
    address = f"/accounts/{listed.mt5.pk}/symbols/"
    html = html_of(client.get(address))
    with for_all_tenants():
        hours = Instrument.objects.get(symbol="AAPL").hours
    assert hours is not None
    [(_, end)] = hours["open"]
    closes = datetime.fromtimestamp(end, UTC)
    for text in ("AAPL/USD", "Open", f"until {closes:%a}", "Calendar of XNYS", "known until",
                 "SAP.de", "Not known", "The broker states none"):  # fmt: skip
        assert text in html, text
    assert "OTHER" not in html
    found = html_of(client.get(f"{address}?q=sap"))
    assert "SAP.de" in found
    assert "AAPL" not in found
    assert "No symbol like this" in html_of(client.get(f"{address}?q=zzz"))


def test_others_do_not_see_them(listed: World, as_web: None, signed_in: SignedIn) -> None:
    address = f"/accounts/{listed.mt5.pk}/symbols/"
    assert signed_in(listed.bob).get(address).status_code == 404
    other = signed_in(listed.alice).get(f"/accounts/{listed.twin.pk}/symbols/")
    assert "No symbols yet" in html_of(other)


def test_unknown_hours_are_stated(listed: World, as_web: None, signed_in: SignedIn) -> None:
    with for_all_tenants():
        ended = int((market_now() - timedelta(days=1)).timestamp())
        hours = {"known": [[ended - 3600, ended]], "open": []}
        Instrument.objects.filter(symbol="AAPL").update(hours=hours)
    html = html_of(signed_in(listed.alice).get(f"/accounts/{listed.mt5.pk}/symbols/?q=AAPL"))
    assert "Not known" in html
    assert "ended" in html
