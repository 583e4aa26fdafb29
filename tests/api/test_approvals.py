"""Whose accounts a feed's signals may trade, asked at every entry point of a publication."""

import hashlib
import hmac
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client

from connections.models import ExecutionConnection
from execution.audit.counters import audit
from execution.models import Order
from signals.feeds import create_feed_token
from signals.models import Approval, Feed, Signal
from tests.api.conftest import AsWeb
from tests.api.factories import World
from tests.api.test_problems import problem
from tests.connections import make

SIGNAL = {"symbol": "EUR/USD", "direction": "BUY"}


@dataclass
class House:
    """Alice's account, a stranger's and one of the operators; Alice has a private feed, `mine`."""

    world: World
    own: ExecutionConnection
    strangers: ExecutionConnection
    operators: ExecutionConnection

    def call(self, who: str, method: str, path: str, **body: Any) -> Any:
        client = self.world.client(who)
        return getattr(client, method)(f"/api/v1/{path}", body, format="json")

    def patch(self, who: str = "alice", **changes: Any) -> dict[str, Any]:
        answer = self.call(who, "patch", "feeds/mine/", **changes)
        assert answer.status_code == 200, answer.json()
        told: dict[str, Any] = answer.json()
        return told

    def send(self) -> Signal:
        answer = self.call("alice", "post", "signals/", feed="mine", **SIGNAL)
        assert answer.status_code == 201, answer.json()
        return Signal.objects.get(pk=answer.json()["id"])

    def publish(self, signal: Signal, who: str = "alice") -> Any:
        return self.call(who, "post", f"signals/{signal.pk}/publish/")

    def subscribe(self, row: ExecutionConnection, who: str) -> int:
        answer = self.call(who, "post", "subscriptions/", connection=str(row.pk), feed="mine")
        return int(answer.status_code)


@pytest.fixture
def house(world: World) -> House:
    house = House(
        world,
        own=make.connection(world.alice, account="900"),
        strangers=make.connection(world.bob),
        operators=make.connection(admin=world.olga),
    )
    house.call("alice", "post", "feeds/", name="mine", is_public=False)
    assert house.subscribe(house.own, "alice") == 201
    return house


def traded(signal: Signal | None = None) -> set[ExecutionConnection]:
    """The connections with an entry that is not skipped."""
    orders = Order.objects.filter(leg="entry", status="PENDING")
    orders = orders.filter(signal=signal) if signal else orders
    return {order.connection for order in orders}


def assert_candidates_agree(signal: Signal) -> None:
    counters = audit(signal.pk).counters
    assert (counters["MISSING"], counters["EXTRA"]) == (0, 0)


def approval(signal: Signal) -> str:
    signal.refresh_from_db()
    return signal.approval


def feed() -> Feed:
    return Feed.objects.get(slug="mine")


def test_a_private_feed_trades_its_owners_accounts(house: House) -> None:
    signal = house.send()
    assert house.publish(signal).status_code == 200
    assert traded() == {house.own}
    assert_candidates_agree(signal)


@pytest.mark.parametrize("role", ["owner", "web"])
def test_stock_of_a_private_feed_waits_when_it_goes_public(
    house: House, as_web: AsWeb, role: str
) -> None:
    stock = house.send()
    assert approval(stock) == Approval.APPROVED
    if role == "web":
        with as_web():
            house.patch(is_public=True)
    else:
        house.patch(is_public=True)
    assert house.subscribe(house.strangers, "bob") == 201
    problem(house.publish(stock), 409, "SIGNAL_NOT_APPROVED")
    assert approval(stock) == Approval.PENDING
    assert traded() == set()


def test_private_again_does_not_bring_the_approval_back(house: House) -> None:
    stock = house.send()
    house.patch(is_public=True)
    assert house.subscribe(house.strangers, "bob") == 201
    told = house.patch(is_public=False)
    assert (told["is_public"], told["is_approved"]) == (False, False)
    for signal in (stock, house.send()):
        problem(house.publish(signal), 409, "SIGNAL_NOT_APPROVED")
    assert traded() == set()


def test_own_approval_does_not_reach_who_was_subscribed_by_operators(house: House) -> None:
    for row in (house.strangers, house.operators):
        assert house.subscribe(row, "olga") == 201
    signal = house.send()
    house.publish(signal)
    assert traded() == {house.own}
    skipped = Order.objects.filter(status="SKIPPED").values_list("connection", "reason")
    assert set(skipped) == {
        (house.strangers.pk, "FEED_OWNER_ONLY"),
        (house.operators.pk, "FEED_OWNER_ONLY"),
    }
    assert_candidates_agree(signal)
    house.patch("olga", is_approved=True)
    later = house.send()
    house.publish(later)
    assert traded(later) == {house.own, house.strangers, house.operators}


def test_stock_approved_by_the_feed_itself_waits_when_operators_approve_it(house: House) -> None:
    """It was written for the owner's accounts; the operators' must not take it unseen."""
    stock = house.send()
    told = house.patch("olga", is_approved=True)
    assert (told["is_approved"], told["approved_by_owner"]) == (True, False)
    problem(house.publish(stock), 409, "SIGNAL_NOT_APPROVED")


@pytest.mark.parametrize(
    "lose",
    [
        lambda house: house.patch("olga", is_approved=False),
        lambda house: house.patch("olga", is_public=True),
        lambda house: Feed.objects.filter(slug="mine").update(owner=house.world.paula),
        lambda house: house.call("alice", "post", "feeds/mine/archive/"),
    ],
    ids=["withdrawn", "public", "owner", "archived"],
)
def test_what_loses_an_approval_sends_unpublished_signals_back(
    house: House, lose: Callable[[House], Any]
) -> None:
    house.patch("olga", is_approved=True)
    stock, published = house.send(), house.send()
    house.publish(published)
    lose(house)
    assert (approval(stock), approval(published)) == (Approval.PENDING, Approval.APPROVED)
    answer = house.publish(stock, "olga")
    assert answer.status_code == 409
    assert traded(stock) == set()


def test_a_signal_that_operators_approve_does_not_reach_their_accounts(house: House) -> None:
    """The feed is not approved: subscribers take this one signal, nobody else."""
    house.patch(is_public=True)
    house.subscribe(house.strangers, "bob")
    signal = house.send()
    assert house.call("olga", "post", f"signals/{signal.pk}/approve/").status_code == 200
    assert house.publish(signal).status_code == 200
    assert traded() == {house.own, house.strangers}
    assert_candidates_agree(signal)


def test_an_approved_public_feed_reaches_everybody(house: House) -> None:
    house.patch(is_public=True)
    house.subscribe(house.strangers, "bob")
    house.patch("olga", is_approved=True)
    house.publish(house.send())
    assert traded() == {house.own, house.strangers, house.operators}


def alert(house: House) -> int:
    token, secret = create_feed_token(feed(), signed=True)
    body = json.dumps({**SIGNAL, "action": "OPEN", "external_id": "a"}).encode()
    signature = hmac.new(token.signing_key.encode(), body, hashlib.sha256).hexdigest()
    path, sent = f"/hooks/tradingview/mine/{secret}/", f"sha256={signature}"
    answer = Client().post(
        path, body, content_type="text/plain", headers={"X-Fillcast-Signature": sent}
    )
    return answer.status_code


def command(house: House) -> int:
    entry = json.dumps({**SIGNAL, "feed": "mine", "external_id": "f"})
    out = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(entry.encode())))
        try:
            call_command("publish_signal", "-", "--by", "alice", stdout=out, stderr=io.StringIO())
        except SystemExit:
            return 409
    return 201


def at_once(house: House) -> int:
    answer = house.call("alice", "post", "signals/?publish=true", feed="mine", **SIGNAL)
    return int(answer.status_code)


DOORS = {"alert": alert, "command": command, "API": at_once}


@pytest.mark.parametrize("door", DOORS)
def test_every_door_keeps_to_the_audience(house: House, door: str) -> None:
    house.subscribe(house.operators, "olga")
    assert DOORS[door](house) == 201
    assert traded() == {house.own}
    Signal.objects.update(external_id=None)
    house.patch(is_public=True)
    assert DOORS[door](house) in (403, 409)
    assert traded() == {house.own}
    assert Signal.objects.published().filter(feed=feed()).count() == 1
