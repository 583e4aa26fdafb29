"""An exchange says that there is nothing to reduce: whether that is so, its positions show."""

import pytest

from brokers.base import Rejected
from brokers.types import Side
from common.reason_codes import Code
from tests.crypto.factories import D, close, open_account
from tests.fakes.exchange.venue import Fault

REFUSALS = [
    ("binance", Fault("status", 400, '{"code":-2022,"msg":"ReduceOnly Order is rejected."}')),
    ("binance", Fault("status", 400, '{"code":-4118,"msg":"ReduceOnly Order Failed."}')),
    ("bybit", Fault("status", 200, '{"retCode":110017,"retMsg":"orderQty will be truncated"}')),
    ("okx", Fault("status", 200, '{"code":"1","data":[{"sCode":"51169","sMsg":"nothing"}]}')),
]  # fmt: skip


@pytest.mark.parametrize(("name", "fault"), REFUSALS)
@pytest.mark.parametrize(
    ("held", "code"),
    [("0.5", Code.REJECTED_BY_BROKER), ("0.2", Code.VOLUME_INVALID), ("0", Code.NO_POSITION)],
)
def test_refused_exit_states_no_position_only_if_none_is_open(
    name: str, fault: Fault, held: str, code: Code
) -> None:
    account = open_account(name, swap=True)
    account.load_markets()
    if D(held):
        account.submit(account.order(quantity=D(held)))
    account.venue.faults.append(Fault(fault.kind, fault.status, fault.body))
    with pytest.raises(Rejected) as refused:
        account.submit(account.order(side=Side.SELL, quantity=D("0.5"), reduce_only=True))
    assert refused.value.code is code
    assert fault.body in refused.value.detail
    close(account)
