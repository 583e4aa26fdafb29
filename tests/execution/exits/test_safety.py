"""What an exit waits for at each type of account, and how much it may take."""

from datetime import timedelta
from decimal import Decimal as D
from types import SimpleNamespace
from typing import Any

import pytest
from django.utils import timezone

from brokers.types import ExitSafety
from connections.kill_switch import release_kill_switch
from connections.models import AccountSnapshot, ExecutionConnection
from execution.exits.safety import (
    ExitBlocker,
    exit_blocker,
    known_broker_quantity,
    max_exit_quantity,
)
from execution.models import AccountSyncState, Order
from execution.monitoring import broker_positions
from execution.monitoring.broker_positions import broker_quantity_of
from execution.monitoring.level_sync import sync_levels
from execution.monitoring.pending_actions import process_pending_actions
from execution.recovery.stale_orders import resolve_stuck
from execution.runtime.trading_runtime import TradingRuntime
from execution.services import close_position
from positions.models import ExecutionPosition
from signals.models import Feed
from tests.connections import make
from tests.execution import factories
from tests.execution.fake_broker import FakeBroker
from tests.execution.netting_model import NettingModel

TICKET, REDUCE_ONLY, OCA, CANCEL_FIRST = ExitSafety


def position(**fields: Any) -> Any:
    usual = {
        "broker_position_id": "7", "shares_broker_position": False, "is_protected": False,
        "protection_suspended": False,
        "has_exit_ahead": False, "is_read": False, "broker_quantity": None, "closable": D(100),
        "is_known": False,
    }  # fmt: skip
    return SimpleNamespace(**{**usual, **fields})


READ = {"is_read": True, "broker_quantity": D(40)}


@pytest.mark.parametrize(
    ("safety", "fields", "waits_for"),
    [
        (TICKET, {}, None),
        (TICKET, {"is_protected": True, "has_exit_ahead": True}, None),
        (TICKET, {"broker_position_id": ""}, ExitBlocker.POSITION_ID),
        (TICKET, {"shares_broker_position": True}, ExitBlocker.BROKER_READ),
        (TICKET, {"shares_broker_position": True, **READ}, None),
        (REDUCE_ONLY, {"broker_position_id": "", "is_protected": True}, None),
        (
            REDUCE_ONLY,
            {"shares_broker_position": True, "is_protected": True, **READ},
            ExitBlocker.LEVELS_REMOVAL,
        ),
        (REDUCE_ONLY, {"shares_broker_position": True}, ExitBlocker.BROKER_READ),
        (OCA, {}, ExitBlocker.BROKER_READ),
        (OCA, {"is_protected": True, **READ}, None),
        (OCA, {"is_protected": True, "has_exit_ahead": True, **READ}, ExitBlocker.OTHER_EXITS),
        (
            CANCEL_FIRST,
            {"is_protected": True},
            ExitBlocker.BROKER_READ,
        ),  # the stop stays until then
        (CANCEL_FIRST, {"is_protected": True, **READ}, ExitBlocker.LEVELS_REMOVAL),
        (CANCEL_FIRST, {"is_protected": True, "has_exit_ahead": True}, ExitBlocker.OTHER_EXITS),
        (CANCEL_FIRST, {}, ExitBlocker.BROKER_READ),
        (CANCEL_FIRST, {"is_read": True, "broker_quantity": D(0)}, ExitBlocker.BROKER_READ),
        (CANCEL_FIRST, READ, None),
    ],
)
def test_exit_blocker_depends_on_the_exit_safety(
    safety: ExitSafety, fields: dict[str, Any], waits_for: ExitBlocker | None
) -> None:
    assert exit_blocker(safety, position(**fields)) == waits_for


@pytest.mark.parametrize(
    ("safety", "fields", "quantity"),
    [(TICKET, {}, 100), (TICKET, {"shares_broker_position": True}, 40), (REDUCE_ONLY, {}, 100),
     (REDUCE_ONLY, {"shares_broker_position": True}, 40), (OCA, {}, 40), (CANCEL_FIRST, {}, 40)],
)  # fmt: skip
def test_exit_quantity_is_limited_by_the_exit_safety(
    safety: ExitSafety, fields: dict[str, Any], quantity: int
) -> None:
    assert max_exit_quantity(safety, position(**READ, **fields)) == quantity


@pytest.mark.parametrize(
    ("safety", "fields", "held"),
    [(CANCEL_FIRST, {}, 40), (OCA, {}, 40), (TICKET, {}, None),
     (TICKET, {"shares_broker_position": True}, 40),
     (CANCEL_FIRST, {"is_known": False}, None)],
)  # fmt: skip
def test_broker_quantity_limits_an_exit_until_the_position_changes(
    safety: ExitSafety, fields: dict[str, Any], held: int | None
) -> None:
    assert known_broker_quantity(safety, position(**{"is_known": True, **READ, **fields})) == held


# ---- our part of a broker's position -----------------------------------------------------
def mine(number: int, quantity: int, ticket: str = "n", **fields: Any) -> Any:
    identity = {"id": number, "symbol": "EURUSD", "side": "BUY", "quantity": D(quantity)}
    more = {"broker_position_id": ticket, "client_order_id": f"c{number}"}
    return SimpleNamespace(**{**identity, **more, **fields})


def theirs(quantity: int, ticket: str = "n", side: str = "BUY", **fields: Any) -> Any:
    identity = {"symbol": "EURUSD", "side": side, "quantity": D(quantity), "balance": None}
    return SimpleNamespace(
        **{"broker_position_id": ticket, "client_order_id": "", **identity, **fields}
    )


@pytest.mark.parametrize(
    ("others", "held", "entering", "quantity"),
    [
        ([], [theirs(100)], 0, 100),
        ([], [theirs(60)], 0, 60),
        ([], [], 0, 0),
        ([], [theirs(100, side="SELL")], 0, 0),
        ([mine(2, 50)], [theirs(150)], 0, 100),
        ([mine(2, 50)], [theirs(100)], 0, 50),  # the missing part may be this position's
        ([mine(2, 50)], [theirs(40)], 0, 0),
        ([], [theirs(150)], 50, 100),
        ([], [theirs(100)], 50, 50),  # the entering quantity may be included already
        ([mine(2, 50, "other")], [theirs(100), theirs(50, "other")], 0, 100),
    ],
)
def test_certain_share_of_a_netted_position(
    others: list[Any], held: list[Any], entering: int, quantity: int
) -> None:
    one = mine(1, 100)
    quantity_known = broker_quantity_of(one, [one, *others], held, {("EURUSD", "BUY"): D(entering)})
    assert quantity_known[0] == quantity


def test_position_is_found_by_its_id_after_a_symbol_rename() -> None:
    """The owner has mapped the symbol to another contract, and the old one has another name."""
    one, other, new = mine(1, 100, "old"), mine(2, 50, "old", symbol="EU"), mine(3, 30, "new")
    tickets = [theirs(130, "old", symbol="E 202612"), theirs(30, "new")]
    assert broker_quantity_of(one, [one, other, new], tickets, {}) == (D(80), "old", True)
    assert broker_quantity_of(new, [one, other, new], tickets, {}) == (D(30), "new", False)


def test_position_without_an_id_is_found_by_its_entrys_client_order_id() -> None:
    one, other = mine(1, 100, ""), mine(2, 50, "")
    tickets = [theirs(50, "8", client_order_id="c2"), theirs(100, "7", client_order_id="c1")]
    assert broker_quantity_of(one, [one, other], tickets, {}) == (D(100), "7", False)
    assert broker_quantity_of(one, [one, other], tickets[:1], {}) == (D(0), "", False)


# ---- the course of an exit ----------------------------------------------------------------------
@pytest.fixture
def account(feed: Feed, broker: FakeBroker, runtime: TradingRuntime) -> ExecutionConnection:
    row = factories.account(feed, settings={"native_stops": True})
    AccountSnapshot.objects.update(position_mode="NETTING")
    return row


def bought(broker: FakeBroker, feed: Feed, safety: ExitSafety) -> ExecutionPosition:
    broker.nets = NettingModel(safety, netting=True)
    found = factories.filled(factories.signal(feed, [("1.12", "1")]))
    factories.apply(*broker.news.values())
    found.refresh_from_db()
    assert (found.broker_sl, found.broker_sl_quantity) == (D("1.09"), 100)
    return found


pytestmark = pytest.mark.django_db


def read_before_removal() -> None:
    """Decide an exit, which first requests a read of its position, and then the removal."""
    assert factories.claim_all() == []
    sync_levels()  # nothing is removed yet
    broker_positions.refresh()
    factories.pass_time(1.1)
    assert factories.claim_all() == []


def test_stop_stays_while_the_position_cannot_be_read(
    account: ExecutionConnection, feed: Feed, broker: FakeBroker
) -> None:
    """Without the read no exit could follow the removal."""
    kept = bought(broker, feed, CANCEL_FIRST)
    assert broker.nets
    close_position(kept.pk)
    for _ in range(3):
        assert factories.claim_all() == []
        sync_levels()
        factories.pass_time(1.1)
    assert broker.nets.protected == {"1": 100}
    read_before_removal()
    sync_levels()
    assert broker.nets.protected == {"1": 0}


@pytest.mark.parametrize("given_up", [False, True])
def test_levels_are_removed_before_an_exit_and_restored_afterwards(
    account: ExecutionConnection, feed: Feed, broker: FakeBroker, given_up: bool
) -> None:
    """Also levels that their broker had dropped repeatedly: they are placed once more."""
    kept = bought(broker, feed, CANCEL_FIRST)
    ExecutionPosition.objects.update(levels_given_up=given_up)
    assert broker.nets
    close_position(kept.pk, fraction=D("0.5"))
    read_before_removal()
    assert broker.nets.protected == {"1": 100}
    sync_levels()
    assert broker.nets.protected == {"1": 0}
    kept.refresh_from_db()
    assert (kept.broker_sl, kept.broker_tp, kept.protection_suspended) == (None, None, True)
    factories.pass_time(1.1)
    assert factories.claim_all() == []  # the broker's quantity is not known yet
    assert broker_positions.refresh() == factories.pending()
    (outgoing,) = factories.claim_all()
    factories.answer(outgoing, broker.fill_at_once(outgoing.request))
    kept.refresh_from_db()
    assert (kept.quantity, kept.protection_suspended) == (50, False)
    process_pending_actions()
    kept.refresh_from_db()
    assert (kept.broker_sl, kept.broker_sl_quantity) == (D("1.09"), 50)
    assert broker.nets.protected == {"1": 50}


@pytest.mark.parametrize("given_up", [False, True])
def test_removed_levels_are_restored_while_the_exit_is_halted(
    account: ExecutionConnection, feed: Feed, broker: FakeBroker, given_up: bool
) -> None:
    kept = bought(broker, feed, CANCEL_FIRST)
    ExecutionPosition.objects.update(levels_given_up=given_up)
    assert broker.nets
    close_position(kept.pk)
    read_before_removal()
    sync_levels()
    assert broker.nets.protected == {"1": 0}
    switch = make.kill_switch("HALTED", scope="ALL")
    factories.pass_time(1.1)
    assert factories.claim_all() == []
    sync_levels()
    assert broker.nets.protected == {"1": 100}
    release_kill_switch(switch.pk, by=None)
    factories.pass_time(1.1)
    read_before_removal()  # its levels are removed once more
    sync_levels()
    broker_positions.refresh()
    factories.pass_time(1.1)
    (outgoing,) = factories.claim_all()
    factories.answer(outgoing, broker.fill_at_once(outgoing.request))
    kept.refresh_from_db()
    assert kept.quantity == 0


def test_exit_is_limited_to_what_the_broker_still_holds(
    account: ExecutionConnection, feed: Feed, broker: FakeBroker
) -> None:
    kept = bought(broker, feed, CANCEL_FIRST)
    assert broker.nets
    broker.nets.by_hand(
        broker.tickets[0], D(70)
    )  # its owner closed most of it; no report reached us
    close_position(kept.pk)
    read_before_removal()
    sync_levels()
    broker_positions.refresh()
    factories.pass_time(1.1)
    (outgoing,) = factories.claim_all()
    assert outgoing.request.quantity == 30
    kept.refresh_from_db()
    assert (kept.quantity, kept.reserved) == (100, 30)  # the rest is free for another exit
    factories.answer(outgoing, broker.fill_at_once(outgoing.request))
    assert (broker.nets.reversed, set(broker.nets.held.values())) == ([], {D(0)})


@pytest.mark.usefixtures("stopped_clock")
def test_exit_of_a_missing_position_requests_one_reconciliation_and_reads_rarely(
    account: ExecutionConnection, feed: Feed, broker: FakeBroker
) -> None:
    kept = bought(broker, feed, CANCEL_FIRST)
    assert broker.nets
    broker.nets.by_hand(broker.tickets[0], D(100))  # its owner closed all of it
    close_position(kept.pk)
    factories.claim_all()
    sync_levels()
    asked, waited = [], []
    for _ in range(4):
        broker_positions.refresh()
        factories.pass_time(1.1)
        assert factories.claim_all() == []
        asked.append(AccountSyncState.objects.filter(reconcile_requested_at__isnull=False).count())
        AccountSyncState.objects.update(reconcile_requested_at=None, compared_at=timezone.now())
        kept.refresh_from_db()
        assert kept.broker_check_due_at is not None
        assert kept.broker_checked_at is not None
        waited.append((kept.broker_check_due_at - kept.broker_checked_at).total_seconds())
        Order.objects.filter(leg="close-1").update(
            waiting_since=timezone.now() - timedelta(minutes=2)
        )
        factories.pass_time(30)
    assert Order.objects.get(leg="close-1").reason == "EXIT_AWAITS_COMPARISON"
    resolve_stuck()
    assert factories.events("exit.delayed") == [], "a comparison may still end it"
    six_minutes_ago = timezone.now() - timedelta(minutes=6)
    for times in (1, 2):  # it waits again, an hour after the first alert
        Order.objects.filter(leg="close-1").update(waiting_since=six_minutes_ago)
        for _ in range(2):
            resolve_stuck()
        codes = [event["code"] for event in factories.events("exit.delayed")]
        assert codes == ["EXIT_AWAITS_COMPARISON"] * times
        factories.force("UPDATE execution_executionlog SET at = at - interval '1 hour'")
    assert asked == [1, 0, 0, 0]
    assert [round(seconds) for seconds in waited] == [2, 12, 12, 12]


def test_grouped_exit_carries_the_group_of_its_protection(
    account: ExecutionConnection, feed: Feed, broker: FakeBroker
) -> None:
    kept = bought(broker, feed, OCA)
    entry = broker.tickets[0].request
    assert entry.oca_group == entry.client_order_id[:-1] != ""
    close_position(kept.pk)
    assert factories.claim_all() == []
    broker_positions.refresh()
    factories.pass_time(1.1)
    (outgoing,) = factories.claim_all()
    assert (outgoing.request.oca_group, outgoing.request.closes) == (
        entry.oca_group, entry.client_order_id,
    )  # fmt: skip


def test_reduce_only_exit_of_a_sole_position_waits_for_nothing(
    account: ExecutionConnection, feed: Feed, broker: FakeBroker
) -> None:
    kept = bought(broker, feed, REDUCE_ONLY)
    close_position(kept.pk)
    (outgoing,) = factories.claim_all()
    assert (outgoing.request.reduce_only, outgoing.request.oca_group) == (True, "")
    assert ("positions", str(account.pk)) not in broker.calls
    broker.nets.stop_out(broker.tickets[0])  # type: ignore[union-attr]
    with pytest.raises(Exception, match="NO_POSITION"):
        broker.fill_at_once(outgoing.request)


def test_separate_level_orders_end_with_their_position(
    account: ExecutionConnection, feed: Feed, broker: FakeBroker
) -> None:
    kept = bought(broker, feed, REDUCE_ONLY)
    close_position(kept.pk)
    (outgoing,) = factories.claim_all()
    factories.answer(outgoing, broker.fill_at_once(outgoing.request))
    assert ExecutionPosition.objects.get().protection_suspended
    broker.calls.clear()
    sync_levels()
    assert [name for name, _ in broker.calls] == ["modify"]
    gone = ExecutionPosition.objects.get()
    assert (gone.broker_sl, gone.broker_tp) == (None, None)
    sync_levels()
    assert [name for name, _ in broker.calls] == ["modify"]
    assert Order.objects.exits().get().status == "FILLED"


def test_ticket_account_queries_a_missing_position_id(
    feed: Feed, broker: FakeBroker, runtime: TradingRuntime
) -> None:
    factories.account(feed)
    kept = factories.filled(factories.signal(feed))
    ExecutionPosition.objects.update(broker_position_id="")
    close_position(kept.pk)
    assert factories.claim_all() == []
    broker_positions.refresh()
    factories.pass_time(1.1)
    (outgoing,) = factories.claim_all()
    assert outgoing.request.broker_position_id == kept.broker_position_id != ""
