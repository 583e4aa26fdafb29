"""An operator changes the price or quantity of an entry that has not filled."""

from collections.abc import Callable
from decimal import Decimal as D
from typing import Any

from django.test import Client

from common.clocks import market_now
from connections.models import Instrument
from execution.models import Order
from tests.console import seed

Page = Callable[..., str]


def test_page_of_an_order_offers_its_change(
    small: dict[str, Any], page: Page, client: Client
) -> None:
    published = seed.signal(
        small["feed"], candidate_count=1, order_type="LIMIT", open_price=D("1.384")
    )
    (order,) = seed.orders(published, small["connections"], {("PENDING", ""): 1})
    Order.objects.filter(pk=order.pk).update(limit_price=D("1.384"))
    Instrument.objects.get_or_create(
        book=order.connection.instrument_book, pair="EUR/USD", symbol="EURUSD",
        defaults={
            "digits": 5, "pip": D("0.0001"), "quantity_min": 1000, "quantity_step": 1000,
            "quantity_max": 1_000_000, "contract_size": 100_000, "read_at": market_now(),
        },
    )  # fmt: skip
    client.force_login(small["operator"])
    path = f"/admin/execution/order/{order.pk}/"
    assert f"{path}terms/" in page(path)
    assert 'value="1.384"' in page(f"{path}terms/")
    body = {
        "limit_price": "1.3845", "initial-limit_price": "1.384", "quantity": "5000",
        "initial-quantity": "",
    }  # fmt: skip
    client.post(f"{path}terms/", body)
    order.refresh_from_db()
    assert (order.limit_price, order.requested_quantity) == (D("1.3845"), D(5000))
    line = "Last changed: quantity by the preset to 5000, limit price 1.384 to 1.3845."
    assert line in page(path)
    wrong = client.post(f"{path}terms/", body | {"limit_price": "x"})
    assert wrong.status_code == 200


def test_page_of_a_trailing_stop_at_its_broker_shows_how_far_it_follows(
    small: dict[str, Any], page: Page, client: Client
) -> None:
    published = seed.signal(
        small["feed"], candidate_count=1, order_type="TRAILING_STOP", trail_pips=D(50)
    )
    (order,) = seed.orders(published, small["connections"], {("SUBMITTED", ""): 1})
    Order.objects.filter(pk=order.pk).update(
        order_type="TRAILING_STOP", stop_price=D("1.3845"), trail_distance=D("0.005")
    )
    client.force_login(small["operator"])
    path = f"/admin/execution/order/{order.pk}/"
    html = " ".join(page(path).split())
    assert "0.005 behind, at its broker, beginning at 1.3845" in html
    assert "Emulated" not in html
    assert f"{path}terms/" not in html
