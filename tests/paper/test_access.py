"""Access to an account, and its connection test."""

from typing import Any

import pytest

from brokers.base import ReadFailed, Rejected
from brokers.types import CheckResult, ReportKind, Side
from common.reason_codes import Code
from tests.paper.conftest import Trader


def test_wrong_credentials_are_refused_for_every_call(trader: Trader) -> None:
    trader.account("locked", password="right")
    wrong = {"credentials": {"password": "wrong"}}
    with pytest.raises(Rejected) as caught:
        trader.submit(trader.request(Side.BUY, "1000", "locked"), **wrong)
    assert caught.value.code is Code.CREDENTIALS_REFUSED
    with pytest.raises(ReadFailed):
        trader.positions("locked")
    assert trader.journal() == []
    right = {"credentials": {"password": "right"}}
    [report] = trader.submit(trader.request(Side.BUY, "1000", "locked"), **right)
    assert report.kind is ReportKind.FILLED


def test_connection_test_names_each_fault(trader: Trader) -> None:
    def failing(number: str = "A1", **spec: Any) -> list[str]:
        checks = trader.run(trader.adapter.test(trader.spec(number, **spec)))
        return [check.name for check in checks if check.result is not CheckResult.OK]

    assert failing() == []
    assert failing("missing") == ["account"]
    trader.account("locked", password="right")
    assert failing("locked") == ["password"]
    assert failing(settings={"position_mode": "NETTING"}) == ["position mode"]
    assert failing(settings={"native_stops": False}) == ["native stops"]
    trader.set(trading_allowed=False)
    assert failing() == ["trading"]
    trader.set(trading_allowed=True, unreachable=True)
    assert failing() == ["reach"]
