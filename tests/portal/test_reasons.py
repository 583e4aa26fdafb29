"""Pages of reason codes: the meaning is public, and tenants see their own orders only."""

import pytest
from django.test import Client
from django.utils.html import escape

from common.reason_codes import Code
from common.templatetags.fillcast import with_reasons
from execution.models import Order
from tests.execution.factories import without_triggers
from tests.html import html_of
from tests.portal.conftest import SignedIn
from tests.portal.factories import World
from users.models import User

pytestmark = pytest.mark.django_db


def text_of(client: Client, code: str, status: int = 200) -> str:
    response = client.get(f"/reasons/{code}/")
    assert response.status_code == status
    return html_of(response)


def test_every_code_has_a_public_page(client: Client) -> None:
    for code in Code:
        text = text_of(client, code.value)
        assert code.value in text
        assert "What to do" in text
        assert "Your orders" not in text


def test_unknown_code_has_no_page(world: World, signed_in: SignedIn, client: Client) -> None:
    text_of(client, "NO_SUCH_CODE", status=302)
    text_of(signed_in(world.alice), "NO_SUCH_CODE", status=404)


def test_tenant_sees_their_own_orders_only(world: World, signed_in: SignedIn) -> None:
    mine = Order.objects.filter(connection__user=world.alice).latest("id")
    theirs = Order.objects.exclude(connection__user=world.alice).latest("id")
    for order, detail in ((mine, "what happened to mine"), (theirs, "what happened to theirs")):
        order.status, order.reason, order.detail = "REJECTED", "NO_MONEY", detail
        order.quantity = order.quantity or 1
        with without_triggers():
            order.save()
    text = text_of(signed_in(world.alice), "NO_MONEY")
    assert "what happened to mine" in text
    assert "what happened to theirs" not in text
    assert "No orders" in text_of(signed_in(world.alice), "MARKET_CLOSED")


def test_operators_see_all_orders_with_the_reason(world: World, client: Client) -> None:
    order = Order.objects.latest("id")
    Order.objects.filter(pk=order.pk).update(reason="REQUOTE")
    operator = User.objects.create_superuser("op", password="op")
    client.force_login(operator)
    response = client.get("/reasons/REQUOTE/", follow=True)
    text = html_of(response)
    assert response.redirect_chain == [("/admin/execution/order/reasons/REQUOTE/", 302)]
    assert escape(order.connection.name) in text
    assert f"O-{order.pk}" in text
    assert "once, under the next attempt digit" in text


def test_message_links_its_code_and_escapes_the_rest() -> None:
    html = with_reasons("<b>Refused</b>\nCode NO_MONEY\nCode of conduct")
    assert html == (
        "&lt;b&gt;Refused&lt;/b&gt;<br>"
        'Code <a href="/reasons/NO_MONEY/"><code>NO_MONEY</code></a><br>Code of conduct'
    )
