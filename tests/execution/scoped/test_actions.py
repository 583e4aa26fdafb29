"""Cancel all and close all within a scope: what they reach, what they leave, who may."""

import json
import re
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal as D
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from analytics.orders.scoped_pages import live_scope
from common.db.functions import ClockTimestamp
from common.errors import ConflictError, NotAllowedError
from common.permissions import Role
from common.reason_codes import Code
from connections.models import ExecutionConnection
from connections.services import HaltTarget
from execution.models import Order, ScopedAction
from execution.scoped import actions as scoped_actions
from positions.models import ExecutionPosition
from signals.models import Feed, Signal
from tests.connections import make
from tests.execution import factories
from tests.roles import give
from tests.sampling import often
from tests.signals.test_ingest import at_once
from users.models import User

pytestmark = pytest.mark.usefixtures("inline_commits")
ALL = HaltTarget("ALL")


@pytest.fixture
def bob(alice: ExecutionConnection, feed: Feed) -> ExecutionConnection:
    """Another tenant's account that takes the same signals."""
    return factories.account(feed)


@pytest.fixture
def trades(bob: ExecutionConnection, feed: Feed) -> dict[str, Signal]:
    """On both accounts an open position, an entry at the broker and one not sent yet."""
    open_ = factories.signal(feed)
    factories.fill_all()
    working = factories.signal(feed, order_type="LIMIT", open_price=D("1.09"), sl=D("1.08"))
    for outgoing in factories.claim_all():
        factories.answer(outgoing, factories.fake_broker().rest(outgoing.request))
    return {"open": open_, "working": working, "waiting": factories.signal(feed)}


def scopes(of: ExecutionConnection, feed: Feed) -> dict[str, tuple[HaltTarget, int]]:
    """Each scope and how many of the two accounts are in it."""
    return {
        "ALL": (ALL, 2),
        "FEED": (HaltTarget("FEED", feed_id=feed.pk), 2),
        "USER": (HaltTarget("USER", user_id=of.user_id), 1),
        "CONNECTION": (HaltTarget("CONNECTION", connection_id=of.pk), 1),
        "BROKER_TYPE": (HaltTarget("BROKER_TYPE", broker_type=of.type), 2),
        "SYMBOL": (HaltTarget("SYMBOL", pair="EUR/USD"), 2),
        "other symbol": (HaltTarget("SYMBOL", pair="GBP/USD"), 0),
        "other feed": (HaltTarget("FEED", feed_id=make.feed().pk), 0),
    }


SCOPES = [
    "ALL",
    "FEED",
    "USER",
    "CONNECTION",
    "BROKER_TYPE",
    "SYMBOL",
    "other symbol",
    "other feed",
]


@pytest.mark.parametrize("scope", SCOPES)
def test_scope_is_cancelled_and_closed_exactly(
    trades: dict[str, Signal], alice: ExecutionConnection, feed: Feed, scope: str
) -> None:
    target, accounts = scopes(alice, feed)[scope]
    impact = scoped_actions.scope_impact(target, by=None)
    assert (impact.waiting, impact.working, impact.positions) == (accounts,) * 3
    requested, found = scoped_actions.cancel_all(target, by=None)
    assert len(requested) == found == 2 * accounts
    touched = Order.objects.filter(reason="OWNER_CANCELLED") | Order.objects.filter(
        pending_action="CANCEL"
    )
    assert set(touched.values_list("pk", flat=True)) == set(requested)
    assert scoped_actions.entry_ids(target, by=None) == []
    exits = scoped_actions.close_all(target, by=None)
    assert len(exits) == accounts
    assert scoped_actions.close_all(target, by=None) == []
    assert Order.objects.exits().count() == accounts


def test_cancel_all_leaves_exits_alone(trades: dict[str, Signal]) -> None:
    exits = scoped_actions.close_all(ALL, by=None)
    before = list(Order.objects.filter(pk__in=exits).order_by("pk").values())
    scoped_actions.cancel_all(ALL, by=None)
    assert list(Order.objects.filter(pk__in=exits).order_by("pk").values()) == before


@pytest.mark.parametrize("scope", often(SCOPES, every=3))
def test_tenant_reaches_only_own_accounts_in_every_scope(
    trades: dict[str, Signal],
    alice: ExecutionConnection,
    bob: ExecutionConnection,
    feed: Feed,
    scope: str,
) -> None:
    target, _ = scopes(alice, feed)[scope]
    by = User.objects.get(username=bob.owner_name)
    mine = {bob.pk} if scopes(alice, feed)[scope][1] == 2 else set()
    impact = scoped_actions.scope_impact(target, by=by)
    assert (impact.waiting, impact.working, impact.positions) == (len(mine),) * 3
    requested, _ = scoped_actions.cancel_all(target, by=by)
    exits = scoped_actions.close_all(target, by=by)
    reached = Order.objects.filter(pk__in=[*requested, *exits])
    assert set(reached.values_list("connection_id", flat=True)) == mine
    details = set(Order.objects.filter(pk__in=exits).values_list("detail", flat=True))
    assert details == ({f"by {by.username}"} if mine else set())


def test_staff_without_the_right_may_neither_look_nor_act(trades: dict[str, Signal]) -> None:
    officer = make.user(is_staff=True)
    officer.groups.clear()
    give(officer, Role.RISK_OFFICER)
    officer = User.objects.get(pk=officer.pk)
    for act in (scoped_actions.scope_impact, scoped_actions.cancel_all, scoped_actions.close_all):
        with pytest.raises(NotAllowedError):
            act(ALL, by=officer)
    assert not Order.objects.exits().exists()
    assert not Order.objects.exclude(pending_action="").exists()


# ---- commands -----------------------------------------------------------------------------------
@pytest.mark.django_db(transaction=True)
def test_close_all_shows_counts_and_amounts_before_it_acts(
    trades: dict[str, Signal], alice: ExecutionConnection, capsys: pytest.CaptureFixture[str]
) -> None:
    price = ExecutionPosition.objects.get(connection=alice).entry_price
    with pytest.raises(CommandError, match="1 positions would be"):
        call_command("close_all", connection=alice.pk)
    shown = capsys.readouterr().err
    assert f"Open positions: 1 ({price * 100:,.2f} USD). They are closed at the market" in shown
    assert "Entries that have not filled: 2. They stay" in shown
    assert not Order.objects.exits().exists()
    call_command("close_all", connection=alice.pk, yes=True)
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == {"closing": 1}
    assert Order.objects.exits().get().connection_id == alice.pk


@pytest.mark.django_db(transaction=True)
def test_cancel_all_shows_what_is_at_brokers(
    trades: dict[str, Signal], feed: Feed, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(CommandError, match="4 entries would be"):
        call_command("cancel_all", feed=feed.slug)
    shown = capsys.readouterr().err
    assert "Entries not sent yet: 2. They are cancelled and never sent." in shown
    assert re.search(r"Entries at brokers: 2 \([0-9.]+ USD\)\. Each broker is asked", shown)
    call_command("cancel_all", signal=trades["waiting"].pk, symbol="eurusd", yes=True)
    waiting = Order.objects.filter(signal=trades["waiting"])
    assert set(waiting.values_list("status", flat=True)) == {"CANCELLED"}
    assert not Order.objects.exclude(pending_action="").exists()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("command", ["cancel_all", "close_all"])
@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"user": "not-a-user"}, "no user"),
        ({"feed": "none"}, "no feed"),
        ({"feed": ""}, "empty"),
        ({"symbol": "?"}, "SYMBOL"),
        ({"broker_type": "mt9"}, "not a broker type"),
        ({"symbol": "EUR/USD", "broker_type": "mt5"}, "only one of --symbol and --broker-type"),
    ],
)  # fmt: skip
def test_scope_that_is_wrong_does_nothing(
    trades: dict[str, Signal], command: str, options: dict[str, Any], text: str
) -> None:
    with pytest.raises(CommandError, match=text):
        call_command(command, **options, yes=True)
    assert not Order.objects.exits().exists()
    assert not Order.objects.filter(done_at=None).exclude(pending_action="").exists()


def request(**changes: Any) -> scoped_actions.ActionRequest:
    """A request to cancel and close everything, with these changes."""
    asked = scoped_actions.ActionRequest(scoped_actions.ActionScope(), True, True)
    return replace(asked, **changes)


def test_both_actions_also_close_what_sent_entries_still_fill(trades: dict[str, Signal]) -> None:
    done = scoped_actions.carry_out(request(shown=(4, 2)), by=None)
    assert (len(done.cancelled), len(done.exits), done.ended) == (4, 2, [])
    of_working = Order.objects.filter(signal=trades["working"])
    assert set(of_working.values_list("pending_action", flat=True)) == {"CLOSE"}
    assert set(Order.objects.filter(signal=trades["waiting"]).values_list("status", flat=True)) == {
        "CANCELLED"
    }
    stored = ScopedAction.objects.get()
    assert (stored.scope_name, stored.shown_entries, stored.shown_positions) == ("everything", 4, 2)


@pytest.mark.parametrize("action", ["CANCEL", "EXPIRE"])
def test_both_actions_also_close_what_entries_fill_that_are_being_cancelled(
    trades: dict[str, Signal], action: str
) -> None:
    due = ClockTimestamp() + timedelta(seconds=20)  # the calls are under way
    Order.objects.filter(signal=trades["working"]).update(pending_action=action, due_at=due)
    working = Order.objects.filter(signal=trades["working"]).order_by("pk")
    before = list(working.values_list("due_at", flat=True))
    everything = scoped_actions.ActionScope()
    live = live_scope(everything, by=None)
    assert (live.reached(closes=False), live.reached(closes=True)) == (2, 4)
    assert scoped_actions.cancel_all(ALL, by=None)[1] == 2  # those not sent
    live = live_scope(everything, by=None)
    assert not live.is_empty(cancels=True, closes=True)
    assert set(working.values_list("pending_action", flat=True)) == {action}
    done = scoped_actions.carry_out(request(), by=None)
    assert done.cancelled == list(working.values_list("pk", flat=True))
    assert set(working.values_list("pending_action", flat=True)) == {"CLOSE"}
    assert list(working.values_list("due_at", flat=True)) == before  # nothing is requested twice
    live = live_scope(everything, by=None)
    assert live.is_empty(cancels=True, closes=True)


def test_repeated_request_does_nothing_and_returns_the_first(
    trades: dict[str, Signal], bob: ExecutionConnection
) -> None:
    by = User.objects.get(username=bob.owner_name)
    first = scoped_actions.carry_out(request(request_id="key:a", cancels_entries=False), by=by)
    factories.fill_all()  # the exits, and the entries that were not sent
    assert ExecutionPosition.objects.open().filter(connection=bob).exists()
    again = scoped_actions.carry_out(request(request_id="key:a", cancels_entries=False), by=by)
    assert again == first
    assert Order.objects.exits().filter(connection=bob).count() == 1
    other = scoped_actions.carry_out(request(request_id="key:a"), by=None)
    assert other != first  # another user's key


@pytest.mark.parametrize(
    "changes",
    [
        {"closes_positions": False},
        {"scope": scoped_actions.ActionScope((HaltTarget("SYMBOL", pair="EUR/USD"),))},
        {"scope": scoped_actions.ActionScope(signal_id=1)},
    ],
)
def test_request_id_with_other_contents_is_refused(
    trades: dict[str, Signal], changes: dict[str, Any]
) -> None:
    scoped_actions.carry_out(request(request_id="key:a"), by=None)
    with pytest.raises(ConflictError) as refused:
        scoped_actions.carry_out(request(request_id="key:a", **changes), by=None)
    assert refused.value.code is Code.DUPLICATE_REQUEST


@pytest.mark.django_db(transaction=True)
def test_same_request_from_two_processes_writes_one_exit_each(trades: dict[str, Signal]) -> None:
    done = at_once(*[lambda: scoped_actions.carry_out(request(request_id="key:a"), by=None)] * 3)
    assert len({action.pk for action in done}) == 1
    assert Order.objects.exits().count() == 2


def test_all_targets_of_a_scope_must_fit(
    trades: dict[str, Signal], alice: ExecutionConnection, feed: Feed
) -> None:
    both = scoped_actions.ActionScope(
        (HaltTarget("CONNECTION", connection_id=alice.pk), HaltTarget("FEED", feed_id=feed.pk)),
        trades["open"].pk,
    )
    assert both.name == f"connection {alice.name}, feed {feed.name}, signal S-{trades['open'].pk}"
    (position_id,) = scoped_actions.position_ids(both, by=None)
    assert ExecutionPosition.objects.get(pk=position_id).connection_id == alice.pk
    assert scoped_actions.entry_ids(both, by=None) == []
