"""A notification leads to the page that it is about, and its reason codes to theirs."""

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from common.templatetags.fillcast import with_reasons
from events import services
from events.models import EventKind, Notification
from events.routing import route_events
from events.services import NewEvent
from tests.html import html_of
from tests.portal.conftest import SignedIn
from tests.portal.factories import World
from tests.portal.test_sign_up import as_owner

pytestmark = pytest.mark.django_db


@pytest.fixture
def inbox(world: World, signed_in: SignedIn, as_web: None) -> Client:
    """Alice's browser; she has one event of each page, and two orders of one signal."""
    mine: dict[str, Any] = {"user_id": world.alice.pk, "connection_id": world.mt5.pk}
    signal = world.euro.pk
    with as_owner():
        Notification.objects.all().delete()
        services.emit_many(
            [
                NewEvent(EventKind.POSITION_UNPROTECTED, payload={"position": 41}, **mine),
                NewEvent(EventKind.ORDER_REJECTED, signal_id=signal, order_id=1, **mine),
                NewEvent(EventKind.CONNECTION_RECOVERED, **mine),
                NewEvent(EventKind.PASSWORD_CHANGED, world.alice.pk),
                *(
                    NewEvent(
                        EventKind.POSITION_CLOSED, signal_id=signal, payload={"position": n}, **mine
                    )
                    for n in (42, 43)
                ),
            ]
        )
        route_events(50)
    return signed_in(world.alice)


def test_each_notification_leads_to_its_page(inbox: Client, world: World) -> None:
    page = html_of(inbox.get("/inbox/"))
    signal = reverse("portal:signal", args=[world.euro.pk])
    assert '<a href="/positions/41/">Without its stop' in page
    assert f'<a href="{signal}">Rejected by the broker' in page
    assert f'<a href="/accounts/{world.mt5.pk}/">' in page
    assert f'<a href="{signal}">2 positions closed' in page
    assert "/positions/42/" not in page, "it is about two positions"


def test_codes_of_lines_lead_to_their_pages() -> None:
    line = "Denied by us: Buy <b> · MAX_LEVERAGE: Leverage: 31, maximum 30 · MARGIN · MT5"
    shown = with_reasons(f"{line}\nCode NO_MONEY\nCode RED · NOT_A_CODE: x")
    assert '<a href="/reasons/MAX_LEVERAGE/"><code>MAX_LEVERAGE</code></a>: Leverage' in shown
    assert '<a href="/reasons/MARGIN/">' in shown
    assert 'Code <a href="/reasons/NO_MONEY/">' in shown
    assert "Buy &lt;b&gt;" in shown
    assert "Code RED · NOT_A_CODE: x" in shown
