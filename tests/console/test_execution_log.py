"""The execution log: account, quantity and price in the list, filters and search."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from execution.models import ExecutionLog, Order
from tests.console import seed

LOG = "/admin/execution/executionlog/"
Page = Callable[..., str]


@pytest.fixture
def order(world: dict[str, Any], client: Client) -> Order:
    """Return a filled order of the first signal, which has four log lines; sign an operator in."""
    client.force_login(world["operator"])
    order_row = Order.objects.filter(signal=world["signal"], status="FILLED").order_by("pk")[0]
    order_row.broker_order_id = "B-4711"
    order_row.save(update_fields=["broker_order_id"])
    assert ExecutionLog.objects.filter(order_id=order_row.pk).count() == 4
    return order_row


def test_log_displays_account_quantity_with_unit_and_price(order: Order, page: Page) -> None:
    html = page(LOG, q=f"O-{order.pk}")
    assert f"{order.connection.name} · {order.connection.account}" in html
    assert f"/admin/connections/executionconnection/{order.connection_id}/" in html
    assert "40,000 " in html
    assert "1.38254" in html


@pytest.mark.parametrize(
    "term",
    ["{account}", "{name}", "{client_order_id}", "B-4711", "O-{pk}", "o{pk}"],
)
def test_log_search_finds_lines_by_every_id(order: Order, page: Page, term: str) -> None:
    values = {
        "account": order.connection.account,
        "name": order.connection.name,
        "client_order_id": order.client_order_id,
        "pk": order.pk,
    }
    html = page(LOG, q=term.format(**values))
    assert f"O-{order.pk}<" in html


def test_log_search_finds_the_orders_of_a_signal(order: Order, page: Page) -> None:
    html = page(LOG, q=f"S-{order.signal_id}")
    of_signal = set(Order.objects.filter(signal=order.signal_id).values_list("pk", flat=True))
    displayed = {int(pk) for pk in re.findall(r">O-(\d+)<", html)}
    assert displayed
    assert displayed <= of_signal


def test_log_search_finds_no_other_orders(order: Order, page: Page) -> None:
    assert "O-" not in page(LOG, q="no-such-account").partition("<tbody")[2]
    html = page(LOG, q="B-4711")
    others = Order.objects.exclude(pk=order.pk).values_list("pk", flat=True)
    assert not any(f"O-{pk}<" in html for pk in others)


def test_log_filters_by_state_and_broker_type(order: Order, page: Page) -> None:
    rejected = ExecutionLog.objects.create(
        order_id=order.pk, connection_id=order.connection_id, code="NO_MONEY", status="REJECTED"
    )
    html = page(LOG, state="trouble")
    assert "NO_MONEY" in html
    assert "INTENT" not in html.partition("<tbody")[2]
    broker_type = order.connection.type
    other = next(name for name in seed.KINDS if name != broker_type)
    assert "NO_MONEY" in page(LOG, state="REJECTED", broker=broker_type)
    assert "NO_MONEY" not in page(LOG, state="REJECTED", broker=other).partition("<tbody")[2]
    assert "NO_MONEY" in page(LOG, q="no_money")
    assert rejected.pk


def test_order_search_finds_broker_order_ids(order: Order, page: Page) -> None:
    html = page("/admin/execution/order/", q="B-4711")
    assert f"O-{order.pk} ·" in html
    assert html.count("O-") < 5
