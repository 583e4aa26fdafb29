"""The console's list of alerts: where is my alert, and what became of it."""

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils.html import escape

from alerts.inbox.publishing import publish_waiting
from alerts.inbox.storing import accept_alert
from alerts.models import AlertState, IncomingAlert
from signals.models import Feed
from users.tenancy import for_all_tenants

Page = Callable[..., str]
LIST = "/admin/alerts/incomingalert/"


@pytest.fixture
def alerts(small: dict[str, Any]) -> dict[str, IncomingAlert]:
    """An alert that is published, one that is refused, and one that waits."""
    feed: Feed = small["feed"]
    with for_all_tenants():
        texts = {
            "published": b"BUY EURUSD @ 1.3850 SL 1.3800",
            "refused": b"BUY EURUSD SL somewhere token: abc123def",
        }
        for text in texts.values():
            accept_alert(feed, text)
        publish_waiting(seconds=60)
        accept_alert(feed, b"BUY GBPUSD @ 1.6000 SL 1.5900")
        rows = IncomingAlert.objects.order_by("pk")
        return dict(zip((*texts, "waiting"), rows, strict=True))


def test_each_alert_is_listed_with_its_outcome(
    alerts: dict[str, IncomingAlert], page: Page, client: Client, small: dict[str, Any]
) -> None:
    client.force_login(small["operator"])
    html = page(LIST)
    assert [row.state for row in alerts.values()] == [
        AlertState.PUBLISHED, AlertState.REFUSED, AlertState.WAITING,
    ]  # fmt: skip
    for row in alerts.values():
        assert f"A-{row.pk}" in html
        assert AlertState(row.state).label in html
    assert alerts["refused"].code in html


def test_feed_leads_to_its_alerts(
    alerts: dict[str, IncomingAlert], page: Page, client: Client, small: dict[str, Any]
) -> None:
    client.force_login(small["operator"])
    address = f"{LIST}?feed__id__exact={small['feed'].pk}"
    assert f'href="{address}"' in page(reverse("admin:signals_feed_changelist"))
    assert f"A-{alerts['published'].pk}" in page(address)
    other = Feed.objects.create(slug="other", name="Other", owner=small["provider"])
    assert "A-" not in page(f"{LIST}?feed__id__exact={other.pk}").partition("<tbody")[2]


@pytest.mark.parametrize("state", ["REFUSED", "WAITING"])
def test_alerts_are_found_by_state(
    alerts: dict[str, IncomingAlert], page: Page, client: Client, small: dict[str, Any], state: str
) -> None:
    client.force_login(small["operator"])
    shown = page(f"{LIST}?state__exact={state}")
    for row in alerts.values():
        assert (f"A-{row.pk}" in shown) == (row.state == state)


def test_alert_is_found_by_its_number_and_by_that_of_its_signal(
    alerts: dict[str, IncomingAlert], page: Page, client: Client, small: dict[str, Any]
) -> None:
    client.force_login(small["operator"])
    row = alerts["published"]
    for term in (f"A-{row.pk}", str(row.pk), f"S-{row.signal_ids[0]}"):
        shown = page(f"{LIST}?q={term}")
        assert f"A-{row.pk}" in shown
        assert f"A-{alerts['refused'].pk}" not in shown


def test_page_of_an_alert_says_what_became_of_it_without_secrets(
    alerts: dict[str, IncomingAlert], page: Page, client: Client, small: dict[str, Any]
) -> None:
    client.force_login(small["operator"])
    published = page(f"{LIST}{alerts['published'].pk}/change/")
    number = alerts["published"].signal_ids[0]
    assert reverse("admin:signals_signal_page", args=[number]) in published
    assert "BUY EURUSD @ 1.3850 SL 1.3800" in published
    refused = page(f"{LIST}{alerts['refused'].pk}/change/")
    assert escape(alerts["refused"].detail[:30]) in refused
    assert "abc123def" not in refused
    waiting = page(f"{LIST}{alerts['waiting'].pk}/change/")
    assert "waits for a worker" in waiting
