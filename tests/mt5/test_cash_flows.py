"""Deposits and withdrawals, read by the real package's client from the terminal's deals."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal as D
from typing import Any

import pytest

from brokers.base import ReadFailed
from brokers.mt5.adapter import Mt5Adapter
from brokers.types import BrokerCashFlow
from common.db.sql import Query, rows
from common.sealing import new_private_key, public_key_of
from connections.credentials.specs import READ_COLUMNS, ReadRow
from connections.health.account_polling import read_accounts
from connections.health.connection_checks import run_on_process_loop
from connections.models import (
    AccountSnapshot,
    CashFlow,
    CashFlowRead,
    ExecutionConnection,
    TradingPause,
)
from connections.sealing import seal_credentials
from execution.monitoring.loss_limits import apply_loss_limits
from tests.connections import make
from tests.fakes.mt5.fake_terminal import FakeTerminal
from tests.loss_limits import limit_of
from tests.mt5.factories import bought, run, spec

AGO = timedelta(minutes=5)
BALANCE, CREDIT, CHARGE, CORRECTION, BONUS, COMMISSION, INTEREST, TAX = 2, 3, 4, 5, 6, 7, 12, 17


def book(venue: FakeTerminal, kind: int, amount: float, **how: int) -> str:
    return str(venue.control("book", login=1001, kind=kind, amount=amount, **how))


def flows(adapter: Mt5Adapter, since: datetime | None = None) -> list[BrokerCashFlow]:
    return run(adapter.cash_flows(spec(), since or datetime.now(UTC) - AGO))


def test_deposits_and_withdrawals_are_read_with_their_tickets(
    venue: FakeTerminal, adapter: Mt5Adapter
) -> None:
    deposit, withdrawal = book(venue, BALANCE, 500.0), book(venue, BALANCE, -120.55)
    found = flows(adapter)
    assert [(flow.reference, flow.amount) for flow in found] == [
        (deposit, D(500)), (withdrawal, D("-120.55")),
    ]  # fmt: skip
    assert all(abs(flow.time - datetime.now(UTC)) < timedelta(minutes=1) for flow in found)
    assert flows(adapter) == found
    assert run(adapter.account(spec())).balance == D("10379.45")


def test_credit_bonus_and_correction_count_and_costs_do_not(
    venue: FakeTerminal, adapter: Mt5Adapter
) -> None:
    bought(adapter)
    for kind in (BALANCE, CREDIT, CHARGE, CORRECTION, BONUS, COMMISSION, INTEREST, TAX):
        book(venue, kind, -10.0 - kind)
    assert [(flow.amount, flow.is_credit) for flow in flows(adapter)] == [
        (D(-12), False), (D(-13), True), (D(-15), False), (D(-16), False),
    ]  # fmt: skip


def test_earlier_flows_are_left_out(venue: FakeTerminal, adapter: Mt5Adapter) -> None:
    book(venue, BALANCE, 500.0, ahead_seconds=-600)
    last = book(venue, BALANCE, 40.0)
    assert [flow.reference for flow in flows(adapter)] == [last]


def test_failed_read_lists_nothing(venue: FakeTerminal, adapter: Mt5Adapter) -> None:
    book(venue, BALANCE, 500.0)
    venue.fault("history_deals_get", "none", code=-10005)
    with pytest.raises(ReadFailed):
        flows(adapter)
    assert len(flows(adapter)) == 1


def test_capability_says_how_far_back(adapter: Mt5Adapter) -> None:
    assert adapter.capabilities(spec()).cash_flows_horizon == timedelta(days=365)


LOGIN = 1001


@pytest.fixture
def limited(settings: Any) -> ExecutionConnection:
    """An account at the terminal that may lose 500 USD in a trading day."""
    private = new_private_key()
    settings.FILLCAST_CREDENTIALS_PUBLIC_KEY = public_key_of(private)
    settings.FILLCAST_CREDENTIALS_PRIVATE_KEYS = (private,)
    preset = make.preset()
    limit_of(preset, maximum=D(500), unit="AMOUNT")
    row = make.connection(
        type="mt5", account=str(LOGIN), settings=dict(spec(LOGIN).settings), preset=preset
    )
    row.sealed_credentials = seal_credentials(
        {"password": "secret"}, connection_id=row.pk, owner_id=row.owner_id
    )
    row.save()
    return row


def poll(row: ExecutionConnection, adapter: Mt5Adapter) -> list[str]:
    """Read the account and check its limits; return the codes of its pauses."""
    read = Query(ReadRow, f"SELECT {READ_COLUMNS} FROM connections_executionconnection c")
    due = rows(read)
    assert read_accounts(due, run=run_on_process_loop, adapter=lambda _: adapter) == (1, 0)
    apply_loss_limits()
    return [pause.code for pause in TradingPause.objects.filter(connection=row)]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("kind", [BALANCE, CREDIT])
def test_withdrawal_pauses_no_entries_and_a_loss_does(
    venue: FakeTerminal, adapter: Mt5Adapter, limited: ExecutionConnection, kind: int
) -> None:
    venue.configure_account(LOGIN, credit=4000.0)
    assert poll(limited, adapter) == []
    book(venue, kind, -3000.0)
    assert poll(limited, adapter) == []
    (snapshot,) = AccountSnapshot.objects.all()
    assert snapshot.equity == D(11_000)
    assert (snapshot.balance < 10_000) == (kind == BALANCE)
    assert CashFlow.objects.get().is_credit == (kind == CREDIT)
    for loss, codes in ((499.99, []), (0.01, ["LOSS_LIMIT"])):
        book(venue, COMMISSION, -loss)
        assert poll(limited, adapter) == codes
    pause = TradingPause.objects.get()
    assert pause.value == D(500)
    assert "Deposits" not in pause.detail


@pytest.mark.django_db(transaction=True)
def test_deposit_hides_no_loss(
    venue: FakeTerminal, adapter: Mt5Adapter, limited: ExecutionConnection
) -> None:
    assert poll(limited, adapter) == []
    book(venue, BALANCE, 5000.0)
    book(venue, COMMISSION, -500.0)
    assert poll(limited, adapter) == ["LOSS_LIMIT"]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("seconds", [-5, 5])
def test_server_clock_that_differs_makes_no_loss_of_a_withdrawal(
    venue: FakeTerminal, adapter: Mt5Adapter, limited: ExecutionConnection, seconds: int
) -> None:
    assert poll(limited, adapter) == []
    book(venue, BALANCE, -3000.0, ahead_seconds=seconds)
    for _ in range(2):
        assert poll(limited, adapter) == []
    assert len(CashFlow.objects.all()) == 1


@pytest.mark.django_db(transaction=True)
def test_unread_withdrawal_pauses_only_after_five_minutes(
    venue: FakeTerminal, adapter: Mt5Adapter, limited: ExecutionConnection
) -> None:
    assert poll(limited, adapter) == []
    book(venue, BALANCE, -3000.0)
    venue.fault("history_deals_get", "none", code=-10005, times=2)
    assert poll(limited, adapter) == []
    read = CashFlowRead.objects.get()
    assert read.missing_since is not None
    CashFlowRead.objects.update(missing_since=read.missing_since - timedelta(minutes=5))
    assert poll(limited, adapter) == ["LOSS_LIMIT"]
    pause = TradingPause.objects.get()
    assert "Deposits and withdrawals could not be read since" in pause.detail
    TradingPause.objects.all().delete()
    assert poll(limited, adapter) == []  # now they are read
    assert CashFlow.objects.get().amount == D(-3000)
