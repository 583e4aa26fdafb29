"""The total of a signal over all accounts: for its feed's owner and operators, no parts."""

from decimal import Decimal as D
from typing import Any

import pytest
from django.db import connection
from django.test import Client

from common.errors import ConflictError
from connections.models import DataConnection, ExecutionConnection
from execution.submission.claim import claim
from signals.models import Feed
from signals.totals import total_of
from tests.connections import make
from tests.console import seed
from tests.execution import factories
from tests.execution.fake_broker import FakeBroker
from tests.execution.submission.test_signal_limits import limit
from tests.html import html_of

pytestmark = pytest.mark.django_db
# An entry is 100 EUR/USD at an ask of 1.1: 110 USD.


def followers(feed: Feed, count: int) -> list[ExecutionConnection]:
    return [factories.account(feed) for _ in range(count)]


def as_web(client: Client, path: str) -> Any:
    """Return an answer as the web process gives it: with row-level security."""
    with connection.cursor() as cursor:
        cursor.execute("SET ROLE fillcast_web")
    try:
        return client.get(path)
    finally:
        with connection.cursor() as cursor:
            cursor.execute("RESET ROLE")


def test_total_follows_what_is_sent_filled_and_refused(feed: Feed, broker: FakeBroker) -> None:
    followers(feed, 4)
    limit(feed, "330")
    signal = factories.signal(feed)
    assert total_of(signal).total == 0
    first, second, third, fourth = factories.pending()
    (outgoing,) = claim([first], worker_id="one").outgoing
    assert total_of(signal).total == 110
    factories.answer(outgoing, broker.fill_at_once(outgoing.request))
    claim([second, third, fourth], worker_id="two")
    assert total_of(signal).text == "330 USD, maximum 330 USD"  # the fourth was denied
    factories.force("UPDATE execution_order SET status = 'REJECTED' WHERE id = %s", (second,))
    assert total_of(signal).text == "220 USD, maximum 330 USD"


def test_total_is_converted_and_states_what_it_lacks(feed: Feed, broker: FakeBroker) -> None:
    (account,) = followers(feed, 1)
    limit(feed, "1000", "EUR")
    signal = factories.signal(feed)
    factories.claim_all()
    assert total_of(signal).total == D("100.00")  # 110 / 1.09995
    limit(feed, "1000", "CHF")
    signal.refresh_from_db()
    signal.feed.refresh_from_db()
    assert total_of(signal).text == "0 CHF and 110 USD (no current rate), maximum 1,000 CHF"
    factories.quote(account, "0.89990", pair="USD/CHF")
    assert total_of(signal).text == "98.99 CHF, maximum 1,000 CHF"


def test_only_shared_sources_and_the_owners_convert(feed: Feed, broker: FakeBroker) -> None:
    shared, private = followers(feed, 2)
    limit(feed, "1000", "EUR")
    signal = factories.signal(feed)
    factories.claim_all()
    assert shared.data_connection_id
    assert private.data_connection_id
    source = DataConnection.objects.filter(pk=private.data_connection_id)
    source.update(user=make.user())
    factories.quote(private, "2.2", "2.2")  # the newest
    assert total_of(signal).total == D("200.01")  # 220 / 1.09995
    source.update(user=feed.owner)
    assert total_of(signal).total == 100
    source.update(user=make.user())
    DataConnection.objects.filter(pk=shared.data_connection_id).update(is_active=False)
    assert total_of(signal).text == "0 EUR and 220 USD (no current rate), maximum 1,000 EUR"


def test_signal_without_a_limit_has_no_total(feed: Feed, broker: FakeBroker) -> None:
    followers(feed, 1)
    with pytest.raises(ConflictError, match="no limit over all accounts"):
        total_of(factories.signal(feed))


def test_owner_sees_the_total_of_five_followers(
    client: Client, feed: Feed, broker: FakeBroker
) -> None:
    followers(feed, 5)
    limit(feed, "1000")
    signal = factories.signal(feed)
    factories.claim_all()
    client.force_login(feed.owner)
    found = as_web(client, f"/api/v1/signals/{signal.pk}/notional/").json()
    assert found["total"] == "550"


def test_operators_see_the_total_of_few_and_followers_see_none(
    client: Client, feed: Feed, broker: FakeBroker
) -> None:
    alice, bob, _ = followers(feed, 3)
    limit(feed, "329.99")
    signal = factories.signal(feed)
    factories.claim_all()
    shown, path = "220 USD, maximum 329.99 USD", f"/api/v1/signals/{signal.pk}/notional/"
    client.force_login(feed.owner)
    found = as_web(client, path).json()
    assert found.pop("as_of")
    assert found == {"total": None, "maximum": "329.99", "currency": "USD", "unconverted": {}}
    page = html_of(as_web(client, f"/signals/{signal.pk}/"))
    assert shown not in page, "with so few followers it would be what each of them trades"
    assert "not shown below 5 followers" in page
    for account in (alice, bob):
        assert account.name not in page
        assert account.user is not None
        client.force_login(account.user)
        assert shown not in html_of(as_web(client, f"/signals/{signal.pk}/"))
        assert as_web(client, path).status_code in (403, 404)
    client.force_login(seed.operator())
    assert shown in html_of(as_web(client, f"/admin/signals/signal/{signal.pk}/"))
    assert as_web(client, path).json()["total"] == "220"
