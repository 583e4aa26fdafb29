"""A provider's preview of a publication: counts, and nothing about single accounts."""

from decimal import Decimal as D
from typing import Any

from signals.models import Signal
from tests.execution import factories
from tests.html import html_of
from tests.portal.conftest import SignedIn
from tests.portal.factories import World, feed


def draft(of: Any, **fields: Any) -> Signal:
    values: dict[str, Any] = {
        "feed": of, "currency_pair": "EUR/USD", "direction": "BUY", "sl": D("1.09"),
        "approval": "APPROVED", "target_prices": [D("1.12")], "target_fractions": [D(1)],
    } | fields  # fmt: skip
    return Signal.objects.create(**values)


def feed_with_followers(world: World) -> Any:
    """Return a feed of Paula with four followers: two trade, one is paused, one is too small."""
    factories.instrument()
    own = feed(world.paula, "preview", "Preview")
    factories.account(own, type="paper", preset_fixed_quantity=D(50))
    factories.account(own, type="paper", preset_fixed_quantity=D(777))
    factories.account(own, type="paper", is_paused=True)
    factories.account(own, type="paper", preset_max_quantity=D(99))
    return own


def test_provider_sees_how_many_accounts_would_trade(world: World, signed_in: SignedIn) -> None:
    signal = draft(feed_with_followers(world))
    client = signed_in(world.paula)
    assert f"/signals/{signal.pk}/" in html_of(client.get("/signals/"))
    html = html_of(client.get(f"/signals/{signal.pk}/"))
    assert "If it were published now" in html
    assert '<th scope="row">Accounts subscribed to the feed</th><td class="n">4</td>' in html
    assert html.count("For reasons of the accounts themselves.") == 2
    for secret in ("777", "has paused the connection", "MAX_QUANTITY", "CONNECTION_PAUSED"):
        assert secret not in html, secret


def test_provider_without_other_followers_sees_the_reasons_of_own_accounts(
    world: World, signed_in: SignedIn
) -> None:
    factories.instrument()
    own = feed(world.paula, "preview", "Preview")
    factories.account(own, owner=world.paula, type="paper", is_paused=True)
    signal, client = draft(own), signed_in(world.paula)
    html = html_of(client.get(f"/signals/{signal.pk}/"))
    assert "For reasons of the accounts themselves." not in html
    assert "has paused the connection" in html
    factories.account(own, type="paper", is_paused=True)  # another's, with the same reason
    html = html_of(client.get(f"/signals/{signal.pk}/"))
    assert "For reasons of the accounts themselves." in html
    assert "has paused the connection" not in html


def test_provider_sees_why_no_account_would_trade(world: World, signed_in: SignedIn) -> None:
    signal = draft(feed_with_followers(world), sl=D("1.11"))
    html = html_of(signed_in(world.paula).get(f"/signals/{signal.pk}/"))
    assert "No account can trade it as it is" in html
    assert "The stop is at the current price or beyond it" in html


def test_followers_see_no_preview(world: World, signed_in: SignedIn) -> None:
    signal = draft(world.breakout)
    assert signed_in(world.alice).get(f"/signals/{signal.pk}/").status_code == 404
