"""Good-till-date orders: the expert advisor of MetaTrader 4 passes an expiry on, and no more."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal as D
from typing import Any

import pytest

from brokers.base import Rejected
from brokers.dwx import capabilities, mt5_adapter
from brokers.types import OrderType, ReportKind, TimeInForce
from common.reason_codes import Code
from tests.dwx.factories import Account, raises_outcome, run

WAITING: dict[str, Any] = {
    "order_type": OrderType.LIMIT, "limit_price": D("1.05"), "time_in_force": TimeInForce.GTD,
}  # fmt: skip


def in_an_hour() -> datetime:
    return datetime.now(UTC) + timedelta(hours=1)


def test_expiry_is_sent_in_the_servers_time(account: Account) -> None:
    """The server's clock is two hours ahead, and the command has its seconds since 1970."""
    end = in_an_hour()
    report = account.buy(**WAITING, expires_at=end)
    assert report.kind is ReportKind.ACCEPTED
    command, content = account.terminal.commands()[-1]
    assert (command, content.split(",")[-1]) == ("OPEN_ORDER", str(int(end.timestamp()) + 7200))


def test_moved_levels_keep_the_expiry(account: Account) -> None:
    """The command that moves the levels of a waiting order writes its expiry too."""
    end = in_an_hour()
    order = account.buy(**WAITING, expires_at=end)
    account.modify("", "1.04", client_order_id=order.client_order_id)
    [ticket] = account.terminal.open_tickets().values()
    assert (ticket["sl"], ticket["expires"]) == (1.04, int(end.timestamp()) + 7200)


def test_expired_order_is_reported_as_expired(account: Account) -> None:
    order = account.buy(**WAITING, expires_at=in_an_hour())
    account.terminal.simulate("end", ticket=1001, mark="[expiration]")
    [ended] = account.find(order.client_order_id) or []
    assert (ended.kind, ended.code) == (ReportKind.EXPIRED, Code.TIME_IN_FORCE_ENDED)


@pytest.mark.parametrize(
    ("mark", "code"),
    [("[no money]", Code.NO_MONEY), ("[canceled/gap]", None), ("[SL violated]", None)],
)
def test_servers_words_about_a_deleted_order_are_reported(
    account: Account, mark: str, code: Code | None
) -> None:
    order = account.buy(order_type=OrderType.LIMIT, limit_price=D("1.05"))
    account.terminal.simulate("end", ticket=1001, mark=mark)
    [ended] = account.find(order.client_order_id) or []
    assert (ended.kind, ended.code, ended.detail) == (ReportKind.CANCELLED, code, mark)


@pytest.mark.parametrize(
    "fields",
    [
        WAITING,  # without an expiry
        WAITING | {"time_in_force": TimeInForce.DAY},
        WAITING | {"time_in_force": TimeInForce.GTC, "expires_at": in_an_hour()},
        {"time_in_force": TimeInForce.GTD, "expires_at": in_an_hour()},  # at market
        {"order_type": OrderType.STOP_LIMIT, "limit_price": D("1.2"), "stop_price": D("1.3")},
    ],
)
def test_order_that_the_expert_advisor_has_no_word_for_is_not_sent(
    account: Account, fields: dict[str, Any]
) -> None:
    with raises_outcome(Rejected, Code.ORDER_TYPE_UNSUPPORTED):
        account.submit(account.order(**fields))
    assert "OPEN_ORDER" not in [command for command, _ in account.terminal.commands()]


def test_expiry_nearer_than_ten_minutes_is_refused_by_the_server(account: Account) -> None:
    can = capabilities.capabilities_of(account.spec)
    assert can.shortest_gtd > timedelta(minutes=10)
    soon = datetime.now(UTC) + timedelta(minutes=9)
    with pytest.raises(Rejected):
        account.submit(account.order(**WAITING, expires_at=soon))
    assert run(account.adapter.open_orders(account.spec)) == []


def test_broker_that_denies_expirations_refuses_the_order(account: Account) -> None:
    account.terminal.fault(denies_expirations=True)
    with raises_outcome(Rejected, Code.ORDER_TYPE_UNSUPPORTED):
        account.submit(account.order(**WAITING, expires_at=in_an_hour()))


def test_metatrader_5_by_files_has_no_expiry(account: Account) -> None:
    can = mt5_adapter.capabilities_of(account.spec)
    assert can.times_in_force == {TimeInForce.GTC}
    assert can == mt5_adapter.create().capabilities(account.spec)
    assert TimeInForce.GTD in account.adapter.capabilities(account.spec).times_in_force
