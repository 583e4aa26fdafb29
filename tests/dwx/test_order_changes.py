"""A waiting order gets another price by the command that sets levels; it keeps all else."""

from dataclasses import replace
from decimal import Decimal as D

import pytest

from brokers.base import NotSent, OutcomeUnknown, Rejected
from brokers.types import (
    BrokerOrder,
    ChangeRequest,
    OrderReport,
    OrderRequest,
    OrderTerms,
    OrderType,
    ReportKind,
)
from common.clocks import machine_time
from common.reason_codes import Code
from tests.dwx.factories import Account, run

OLD = OrderTerms(D(10000), D("1.09000"))
NEW = replace(OLD, limit_price=D("1.08500"))


@pytest.fixture
def waiting(account: Account) -> OrderRequest:
    """A buy limit at 1.09 with a stop and a target."""
    request = account.order(
        "10000", order_type=OrderType.LIMIT, limit_price=D("1.09"), stop_loss=D("1.08"),
        take_profit=D("1.12"),
    )  # fmt: skip
    account.submit(request)
    return request


def change(
    account: Account, of: OrderRequest, terms: OrderTerms = NEW, send_by: float | None = None
) -> list[OrderReport]:
    request = ChangeRequest(
        of.client_order_id, "", account.spec.connection_id, of.symbol, of.side, of.order_type,
        terms, OLD, send_by,
    )  # fmt: skip
    return run(account.adapter.change_order(account.spec, request))


def listed(account: Account) -> BrokerOrder:
    [one] = run(account.adapter.open_orders(account.spec))
    return one


def test_price_is_changed_and_levels_stay(account: Account, waiting: OrderRequest) -> None:
    before = listed(account)
    [report] = change(account, waiting)
    assert (report.kind, report.terms) == (ReportKind.CHANGED, NEW)
    now = listed(account)
    assert (now.terms, now.broker_order_id) == (NEW, before.broker_order_id)
    [ticket] = account.terminal.open_tickets().values()
    assert (ticket["sl"], ticket["tp"]) == (1.08, 1.12)


def test_stop_order_gets_its_stop_price(account: Account) -> None:
    request = account.order("10000", order_type=OrderType.STOP, stop_price=D("1.12"))
    account.submit(request)
    [report] = change(account, request, OrderTerms(D(10000), None, D("1.13")))
    assert report.terms == OrderTerms(D(10000), None, D("1.13"))
    assert listed(account).stop_price == D("1.13")


def test_same_price_again_sends_nothing(account: Account, waiting: OrderRequest) -> None:
    change(account, waiting)
    [report] = change(account, waiting)
    assert report.terms == NEW
    assert len(account.terminal.journal("modify")) == 1


def test_price_that_the_market_has_reached_is_refused(
    account: Account, waiting: OrderRequest
) -> None:
    with pytest.raises(Rejected):
        change(account, waiting, replace(OLD, limit_price=D("1.2")))
    assert listed(account).limit_price == D("1.09")


def test_change_past_its_time_is_not_sent(account: Account, waiting: OrderRequest) -> None:
    with pytest.raises(NotSent) as late:
        change(account, waiting, send_by=machine_time() - 1)
    assert late.value.code is Code.SEND_DEADLINE
    assert listed(account).limit_price == D("1.09")


def test_quantity_is_refused(account: Account, waiting: OrderRequest) -> None:
    with pytest.raises(Rejected) as refused:
        change(account, waiting, replace(OLD, quantity=D(20000)))
    assert refused.value.code is Code.CHANGE_UNSUPPORTED


def test_order_that_has_ended_is_refused(account: Account, waiting: OrderRequest) -> None:
    [report] = account.find(waiting.client_order_id) or []
    account.cancel(report)
    with pytest.raises(Rejected) as refused:
        change(account, waiting)
    assert refused.value.code is Code.ORDER_ENDED


def test_command_that_has_no_effect_is_unknown(account: Account, waiting: OrderRequest) -> None:
    account.terminal.fault(swallow=True)
    with pytest.raises(OutcomeUnknown):
        change(account, waiting)
    assert listed(account).limit_price == D("1.09")
