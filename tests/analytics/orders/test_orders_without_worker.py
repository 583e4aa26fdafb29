"""An order that is due while no worker runs: API, portal and console show the same code, sentence
and since, though nothing was written to its row."""

import html
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from analytics.orders.reasons import WORKER_SECONDS
from common.db.sql import run
from common.permissions import Role
from common.reason_codes import Code
from connections.models import ExecutionConnection
from execution.models import Order
from execution.services import close_position
from signals.models import Feed
from tests.execution import factories
from tests.html import html_of
from tests.roles import staff

pytestmark = pytest.mark.usefixtures("inline_commits")
NO_WORKER = Code.NO_WORKER.value


@pytest.fixture
def owner(alice: ExecutionConnection) -> Client:
    client = Client()
    assert alice.user is not None
    client.force_login(alice.user)
    return client


@pytest.fixture
def operator(db: None) -> Client:
    client = Client()
    client.force_login(staff(Role.OPERATOR, Role.SUPPORT))
    return client


def text(client: Client, path: str) -> str:
    answer = client.get(path)
    assert answer.status_code == 200, (path, answer.status_code)
    is_page = answer["Content-Type"].startswith("text/html")
    return html.unescape(html_of(answer) if is_page else b"".join(answer).decode())


def listed(client: Client, reason: str) -> list[int]:
    found: dict[str, Any] = client.get("/api/v1/orders/", {"reason": reason}).json()
    return [one["id"] for one in found["results"]]


def since_of(answer: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(answer["waiting_since"])


@pytest.mark.parametrize("leg", ["entry", "exit"])
def test_api_portal_and_console_show_that_no_worker_took_a_due_order(
    leg: str, alice: ExecutionConnection, feed: Feed, owner: Client, operator: Client
) -> None:
    signal = factories.signal(feed)
    if leg == "exit":
        assert close_position(factories.filled(signal).pk)
    order = Order.objects.get(status="PENDING")
    factories.pass_time(30)
    order.refresh_from_db()
    assert (order.reason, order.waiting_since) == ("", None)  # nothing was written

    answer = owner.get(f"/api/v1/orders/{order.pk}/").json()
    assert answer["reason"] == {
        "code": NO_WORKER,
        "sentence": Code.NO_WORKER.sentence,
        "hint": Code.NO_WORKER.hint,
        "figures": None,
    }
    assert since_of(answer) == order.due_at
    assert timedelta(seconds=29) < datetime.now(UTC) - since_of(answer) < timedelta(minutes=2)
    assert listed(owner, NO_WORKER) == listed(operator, NO_WORKER) == [order.pk]

    assert order.due_at is not None
    since = f"since {order.due_at:%H:%M:%S} UTC: "
    portal = text(owner, f"/signals/{signal.pk}/?order={order.pk}")
    assert f"Not sent yet; waiting {since}the order is due, and no worker" in portal
    assert Code.NO_WORKER.hint in portal
    assert f"/reasons/{NO_WORKER}/" in portal
    assert "EUR/USD" in text(owner, f"/reasons/{NO_WORKER}/").partition("Your recent orders")[2]

    page = text(operator, reverse("admin:execution_order_page", args=[order.pk]))
    assert f"Waiting {since}{Code.NO_WORKER.sentence}" in page
    assert Code.NO_WORKER.hint in page
    assert NO_WORKER in text(operator, reverse("admin:execution_order_changelist"))
    account = text(operator, reverse("admin:connections_executionconnection_page", args=[alice.pk]))
    assert f"Waiting since {order.due_at:%H:%M:%S}: {Code.NO_WORKER.sentence}" in account
    assert f"O-{order.pk}" in text(operator, f"/admin/execution/order/reasons/{NO_WORKER}/")


def test_signal_page_counts_filters_and_exports_orders_without_worker(
    alice: ExecutionConnection, feed: Feed, operator: Client
) -> None:
    factories.account(feed, name="paused", is_paused=True)
    signal = factories.signal(feed)
    factories.pass_time(30)
    address = reverse("admin:signals_signal_page", args=[signal.pk])
    assert f"{Code.NO_WORKER.sentence} (1)" in text(operator, address)
    export = reverse("admin:signals_signal_export", args=[signal.pk])
    for asked in (f"reason={NO_WORKER}", f"q={NO_WORKER}"):
        [_, line] = text(operator, f"{export}?{asked}").splitlines()
        assert f",PENDING,{NO_WORKER}," in line


def test_order_waits_for_no_worker_before_it_is_due_or_after_its_claim(
    alice: ExecutionConnection, feed: Feed, owner: Client
) -> None:
    factories.signal(feed)
    order = Order.objects.get()
    factories.pass_time(-60)
    fresh = owner.get(f"/api/v1/orders/{order.pk}/").json()
    assert (fresh["reason"], fresh["waiting_since"], listed(owner, NO_WORKER)) == (None, None, [])
    factories.pass_time(60 + WORKER_SECONDS + 1)
    assert listed(owner, NO_WORKER) == [order.pk]
    factories.claim_all()
    taken = owner.get(f"/api/v1/orders/{order.pk}/").json()
    assert (taken["status"], taken["reason"]) == ("SUBMITTING", None)
    assert listed(owner, NO_WORKER) == []


def test_order_due_again_waits_for_a_worker_and_others_keep_their_code(
    alice: ExecutionConnection, feed: Feed, owner: Client
) -> None:
    factories.signal(feed)
    order = Order.objects.get()
    for reason, stated in (("OPERATOR_RETRY", NO_WORKER), ("BROKER_HOST_DOWN", "BROKER_HOST_DOWN")):
        run(
            "UPDATE execution_order SET reason = %s, waiting_since = clock_timestamp(),"
            " due_at = clock_timestamp() - interval '1 minute' WHERE id = %s",
            (reason, order.pk),
        )
        answer = owner.get(f"/api/v1/orders/{order.pk}/").json()
        assert answer["reason"]["code"] == stated
        order.refresh_from_db()
        since = order.due_at if stated == NO_WORKER else order.waiting_since
        assert since_of(answer) == since
        assert listed(owner, stated) == [order.pk]
        others = {NO_WORKER, "BROKER_HOST_DOWN", "OPERATOR_RETRY"} - {stated}
        assert [listed(owner, other) for other in sorted(others)] == [[], []]
