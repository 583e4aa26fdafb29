"""Which accounts a feed's signals may trade, checked at every entry point of a publication."""

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
from signals.feeds.services import create_feed_token
from signals.models import Approval, Feed, Signal
from tests.alert_inbox import answer_of
from tests.api.conftest import AsWeb
from tests.api.factories import World
from tests.api.test_problems import problem
from tests.connections import make

SIGNAL = {"symbol": "EUR/USD", "direction": "BUY"}


@dataclass
class Accounts:
    """An account each of Alice, another tenant and the operators; Alice's private feed `mine`."""

    world: World
    own: ExecutionConnection
    other_tenants: ExecutionConnection
    operators: ExecutionConnection

    def call(self, username: str, method: str, path: str, **body: Any) -> Any:
        client = self.world.client(username)
        return getattr(client, method)(f"/api/v1/{path}", body, format="json")

    def patch(self, username: str = "alice", **changes: Any) -> dict[str, Any]:
        response = self.call(username, "patch", "feeds/mine/", **changes)
        assert response.status_code == 200, response.json()
        data: dict[str, Any] = response.json()
        return data

    def send(self) -> Signal:
        response = self.call("alice", "post", "signals/", feed="mine", **SIGNAL)
        assert response.status_code == 201, response.json()
        return Signal.objects.get(pk=response.json()["id"])

    def publish(self, signal: Signal, username: str = "alice") -> Any:
        return self.call(username, "post", f"signals/{signal.pk}/publish/")

    def subscribe(self, row: ExecutionConnection, username: str) -> int:
        response = self.call(
            username, "post", "subscriptions/", connection=str(row.pk), feed="mine"
        )
        return int(response.status_code)


@pytest.fixture
def accounts(world: World) -> Accounts:
    accounts = Accounts(
        world,
        own=make.ready(make.connection(world.alice, account="900")),
        other_tenants=make.ready(make.connection(world.bob)),
        operators=make.ready(make.connection(admin=world.olga)),
    )
    accounts.call("alice", "post", "feeds/", name="mine", is_public=False)
    assert accounts.subscribe(accounts.own, "alice") == 201
    return accounts


def traded(signal: Signal | None = None) -> set[ExecutionConnection]:
    """Return the connections with an entry that is not skipped."""
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


def test_private_feed_trades_its_owners_accounts(accounts: Accounts) -> None:
    signal = accounts.send()
    assert accounts.publish(signal).status_code == 200
    assert traded() == {accounts.own}
    assert_candidates_agree(signal)


@pytest.mark.parametrize("role", ["owner", "web"])
def test_unpublished_signal_needs_approval_after_its_feed_goes_public(
    accounts: Accounts, as_web: AsWeb, role: str
) -> None:
    draft = accounts.send()
    assert approval(draft) == Approval.APPROVED
    if role == "web":
        with as_web():
            accounts.patch(is_public=True)
    else:
        accounts.patch(is_public=True)
    assert accounts.subscribe(accounts.other_tenants, "bob") == 201
    problem(accounts.publish(draft), 409, "SIGNAL_NOT_APPROVED")
    assert approval(draft) == Approval.PENDING
    assert traded() == set()


def test_feed_made_private_again_does_not_regain_its_approval(accounts: Accounts) -> None:
    draft = accounts.send()
    accounts.patch(is_public=True)
    assert accounts.subscribe(accounts.other_tenants, "bob") == 201
    data = accounts.patch(is_public=False)
    assert (data["is_public"], data["is_approved"]) == (False, False)
    for signal in (draft, accounts.send()):
        problem(accounts.publish(signal), 409, "SIGNAL_NOT_APPROVED")
    assert traded() == set()


def test_owners_approval_does_not_cover_accounts_subscribed_by_operators(
    accounts: Accounts,
) -> None:
    for row in (accounts.other_tenants, accounts.operators):
        assert accounts.subscribe(row, "olga") == 201
    signal = accounts.send()
    accounts.publish(signal)
    assert traded() == {accounts.own}
    skipped = Order.objects.filter(status="SKIPPED").values_list("connection", "reason")
    assert set(skipped) == {
        (accounts.other_tenants.pk, "FEED_OWNER_ONLY"),
        (accounts.operators.pk, "FEED_OWNER_ONLY"),
    }
    assert_candidates_agree(signal)
    accounts.patch("olga", is_approved=True)
    later = accounts.send()
    accounts.publish(later)
    assert traded(later) == {accounts.own, accounts.other_tenants, accounts.operators}


def test_unpublished_signal_needs_approval_after_operators_approve_its_feed(
    accounts: Accounts,
) -> None:
    """It was written for the owner's accounts; operators' accounts must not take it unreviewed."""
    draft = accounts.send()
    data = accounts.patch("olga", is_approved=True)
    assert (data["is_approved"], data["approved_by_owner"]) == (True, False)
    problem(accounts.publish(draft), 409, "SIGNAL_NOT_APPROVED")


@pytest.mark.parametrize(
    "lose_approval",
    [
        lambda accounts: accounts.patch("olga", is_approved=False),
        lambda accounts: accounts.patch("olga", is_public=True),
        lambda accounts: Feed.objects.filter(slug="mine").update(owner=accounts.world.paula),
        lambda accounts: accounts.call("alice", "post", "feeds/mine/archive/"),
    ],
    ids=["withdrawn", "public", "new owner", "archived"],
)
def test_losing_approval_makes_unpublished_signals_pending(
    accounts: Accounts, lose_approval: Callable[[Accounts], Any]
) -> None:
    accounts.patch("olga", is_approved=True)
    draft, published = accounts.send(), accounts.send()
    accounts.publish(published)
    lose_approval(accounts)
    assert (approval(draft), approval(published)) == (Approval.PENDING, Approval.APPROVED)
    response = accounts.publish(draft, "olga")
    assert response.status_code == 409
    assert traded(draft) == set()


def test_approved_signal_of_an_unapproved_feed_reaches_subscribers_only(accounts: Accounts) -> None:
    """Operators approve one signal; their own accounts do not take it."""
    accounts.patch(is_public=True)
    accounts.subscribe(accounts.other_tenants, "bob")
    signal = accounts.send()
    assert accounts.call("olga", "post", f"signals/{signal.pk}/approve/").status_code == 200
    assert accounts.publish(signal).status_code == 200
    assert traded() == {accounts.own, accounts.other_tenants}
    assert_candidates_agree(signal)


def test_approved_public_feed_reaches_all_subscribers(accounts: Accounts) -> None:
    accounts.patch(is_public=True)
    accounts.subscribe(accounts.other_tenants, "bob")
    accounts.patch("olga", is_approved=True)
    accounts.publish(accounts.send())
    assert traded() == {accounts.own, accounts.other_tenants, accounts.operators}


def publish_by_alert(accounts: Accounts) -> int:
    token, secret = create_feed_token(feed(), signed=True)
    body = json.dumps({**SIGNAL, "action": "OPEN", "external_id": "a"}).encode()
    signature = hmac.new(token.signing_key.encode(), body, hashlib.sha256).hexdigest()
    path, header = f"/hooks/tradingview/mine/{secret}/", f"sha256={signature}"
    response = Client().post(
        path, body, content_type="text/plain", headers={"X-Fillcast-Signature": header}
    )
    return int(answer_of(response).status_code)


def publish_by_command(accounts: Accounts) -> int:
    entry = json.dumps({**SIGNAL, "feed": "mine", "external_id": "f"})
    out = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(entry.encode())))
        try:
            call_command("publish_signal", "-", "--by", "alice", stdout=out, stderr=io.StringIO())
        except SystemExit:
            return 409
    return 201


def publish_by_api(accounts: Accounts) -> int:
    response = accounts.call("alice", "post", "signals/?publish=true", feed="mine", **SIGNAL)
    return int(response.status_code)


PUBLISH_BY = {"alert": publish_by_alert, "command": publish_by_command, "API": publish_by_api}


@pytest.mark.parametrize("entry_point", PUBLISH_BY)
def test_each_entry_point_keeps_to_the_covered_accounts(
    accounts: Accounts, entry_point: str
) -> None:
    accounts.subscribe(accounts.operators, "olga")
    assert PUBLISH_BY[entry_point](accounts) == 201
    assert traded() == {accounts.own}
    Signal.objects.update(external_id=None)
    accounts.patch(is_public=True)
    assert PUBLISH_BY[entry_point](accounts) in (403, 409)
    assert traded() == {accounts.own}
    assert Signal.objects.published().filter(feed=feed()).count() == 1
