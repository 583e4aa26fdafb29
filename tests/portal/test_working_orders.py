"""Working orders: what is listed, how far it is from the market, and cancelling what was shown."""

import re
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal as D
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from common.clocks import market_now
from execution.models import Order
from tests.execution import factories
from tests.html import html_of
from tests.portal.conftest import SignedIn
from tests.portal.factories import World, order, signal

pytestmark = pytest.mark.django_db
Committed = Callable[..., Any]


@pytest.fixture
def client(world: World, signed_in: SignedIn) -> Client:
    return signed_in(world.alice)


@pytest.fixture
def web(client: Client, as_web: None) -> Client:
    return client


def waiting(world: World, **fields: Any) -> Order:
    """An order of Alice's paper account that was published 20 s ago and is not sent yet."""
    new = signal(
        world.carry, market_now() - timedelta(seconds=20), currency_pair="XAU/USD",
        direction="BUY", open_price=D(1270),
    )  # fmt: skip
    values: dict[str, Any] = {
        "status": "PENDING", "limit_price": D("1270.000"), "order_type": "LIMIT", "done_at": None,
        "reason": "CONNECTION_UNREACHABLE", "waiting_since": timezone.now(), **fields,
    }  # fmt: skip
    return order(world.twin, new, values.pop("status"), **values)


def rows_of(page: str) -> list[str]:
    return re.findall(r"O-(\d+) ·", page)


def test_list_has_price_distance_and_end(world: World, web: Client) -> None:
    page = html_of(web.get("/orders/"))
    assert rows_of(page) == [str(world.working.pk)]
    assert "1.38564" in page
    assert re.search(r"19\.2\s*<small>pips", page)  # of a sell stop to the bid
    assert "ended by Fillcast" in page
    assert f"/orders/{world.working.pk}/change/" in page
    assert f"/orders/{world.working.pk}/cancel/" in page
    assert 'hx-trigger="every 5s"' in page


def test_waiting_order_states_why_since_when_and_how_long_at_most(
    world: World, client: Client
) -> None:
    one = waiting(world)
    page = html_of(client.get("/orders/?kind=waiting"))
    assert rows_of(page) == [str(one.pk)]
    assert re.search(r"Waiting since \d\d:\d\d:\d\d UTC", page)
    assert one.signal is not None
    preset = world.twin.preset
    assert preset is not None
    assert one.signal.published_at is not None
    by = one.signal.published_at + timedelta(seconds=preset.max_signal_age_seconds)
    assert f"It is sent by {by:%H:%M:%S} UTC or not at all." in page


def test_filters_by_account_pair_feed_and_kind(world: World, client: Client) -> None:
    gold, euro = str(waiting(world).pk), str(world.working.pk)

    def found(query: str) -> list[str]:
        return rows_of(html_of(client.get(f"/orders/?{query}")))

    assert found("") == [gold, euro]
    assert found(f"account={world.ibkr.pk}") == [euro]
    assert found("pair=xau") == found("feed=kiwi-carry") == found("kind=waiting") == [gold]
    assert found("kind=broker") == [euro]
    assert found("kind=exits") == found("kind=invalid") == found("account=invalid") == []
    assert found(f"account={world.bobs.pk}") == []


def test_long_list_is_paged_and_needs_few_queries(world: World, client: Client) -> None:
    new = signal(world.carry, market_now(), currency_pair="XAU/USD", direction="BUY")
    Order.objects.bulk_create(
        Order(
            connection=world.twin, signal=new, leg=f"entry-{n}", pair="XAU/USD", side="BUY",
            order_type="LIMIT", time_in_force="GTC", limit_price=D(1270),
        )
        for n in range(70)
    )  # fmt: skip
    with CaptureQueriesContext(connection) as queries:
        page = html_of(client.get("/orders/?page=2"))
    assert "31 to 60 of 71" in page
    own = [q for q in queries if "SAVEPOINT" not in q["sql"] and "set_config" not in q["sql"]]
    assert len(own) <= 12, "\n".join(q["sql"][:150] for q in own)


def shown(page: str) -> dict[str, str]:
    found = re.search(r'name="orders" value="([\d,]+)"', page)
    assert found is not None
    return {"orders": found[1]}


def test_all_entries_of_the_list_are_cancelled_after_they_were_listed(
    world: World, client: Client, enqueued: list[Any],
    django_capture_on_commit_callbacks: Committed,
) -> None:  # fmt: skip
    unsent = waiting(world)
    page = html_of(client.get("/orders/cancel-all/"))
    assert "buy XAU/USD at Paper twin (1), sell EUR/USD at IBKR (1)." in page
    assert "Not sent yet: 1." in page
    assert "At brokers: 1. Each broker is asked to cancel" in page
    assert "Exits, stops and targets stay." in page
    later = waiting(world)
    with django_capture_on_commit_callbacks(execute=True):
        after = html_of(client.post("/orders/cancel-all/", shown(page), follow=True))
    assert "2 entries are cancelled, or being cancelled at the broker." in after
    assert "1 appeared since you were asked, and stay." in after
    assert enqueued == ["pending actions"]
    states = dict(Order.objects.values_list("pk", "status"))
    assert (states[unsent.pk], states[later.pk]) == ("CANCELLED", "PENDING")
    world.working.refresh_from_db()
    assert world.working.pending_action == "CANCEL"
    again = html_of(client.post("/orders/cancel-all/", shown(page), follow=True))
    assert "No entry of that can be cancelled any more; nothing was sent." in again


def test_orders_of_others_named_in_the_answer_stay(world: World, client: Client) -> None:
    factories.force(
        "UPDATE execution_order SET status = 'PENDING', filled_quantity = 0, done_at = NULL"
        " WHERE id = %s",
        (world.bobs_order.pk,),
    )
    client.post("/orders/cancel-all/", {"orders": str(world.bobs_order.pk)})
    world.bobs_order.refresh_from_db()
    assert (world.bobs_order.status, world.bobs_order.pending_action) == ("PENDING", "")


def test_empty_list_says_what_appears(world: World, signed_in: SignedIn) -> None:
    page = html_of(signed_in(world.nora).get("/orders/"))
    assert "No working orders" in page
    assert "Cancel all…" not in page
    page = html_of(signed_in(world.nora).get("/orders/?pair=x"))
    assert "No matching orders" in page
