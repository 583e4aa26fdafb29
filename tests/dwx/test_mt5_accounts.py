"""MetaTrader 5 by files: rejections, hedging accounts only, no files of MetaTrader 4."""

from datetime import UTC, datetime

import pytest

from brokers.base import NotSent, OutcomeUnknown, ReadFailed, Rejected
from brokers.dwx.adapter import create
from brokers.registry import adapter_for, capabilities_of, form_of
from brokers.types import (
    CheckResult,
    Side,
)
from common.errors import InvalidInputError
from common.reason_codes import Code
from tests.dwx.factories import Account, checks, fills, raises_outcome, run
from tests.fakes.dwx.terminal import Terminal
from tests.until import until


def test_rejection_is_unknown_until_order_is_absent(mt5_account: Account) -> None:
    mt5_account.terminal.fault(error="not enough money")
    request = mt5_account.order()
    with raises_outcome(OutcomeUnknown, Code.REPLY_LOST) as caught:
        mt5_account.submit(request)
    assert "4756" in caught[0].detail
    mt5_account.terminal.fault()

    def is_certain() -> bool:
        offset = datetime.now(UTC).timestamp() % 1000 / 1e5
        mt5_account.terminal.simulate("price", symbol="EURUSD", bid=1 + offset, ask=1 + offset)
        try:
            return mt5_account.find(request.client_order_id) is None
        except ReadFailed:
            return False

    until(is_certain)


def test_disabled_trading_means_not_sent(mt5_account: Account) -> None:
    mt5_account.terminal.fault(error="ErrorCode: 4752")
    with raises_outcome(NotSent, Code.TRADING_DISABLED):
        mt5_account.buy()
    assert checks(mt5_account)["trading"].result is CheckResult.FAIL


def test_hedging_must_be_confirmed_in_settings(mt5_account: Account) -> None:
    for values in ({"hedging": False}, {"hedging": None}):
        mt5_account.change_settings(**values)
        with raises_outcome(Rejected, Code.HEDGING_NEEDED):
            mt5_account.buy()
        assert checks(mt5_account)["position mode"].result is CheckResult.FAIL
    assert mt5_account.terminal.journal() == []
    form = form_of("mt5-dwx")
    for value in (False, None):
        with pytest.raises(InvalidInputError):
            form.validate({**mt5_account.spec.settings, "hedging": value})
    assert form.validate({**mt5_account.spec.settings, "hedging": "yes"})["hedging"] is True


def test_netting_account_is_rejected_once_detected(mt5_account: Account) -> None:
    (mt5_account.terminal.state_folder / "netting").touch()
    mt5_account.terminal.close()
    mt5_account.terminal.start()
    mt5_account.buy()
    with raises_outcome(OutcomeUnknown) as caught:
        mt5_account.buy("4000", side=Side.SELL)
    assert "nets" in caught[0].detail
    with raises_outcome(Rejected, Code.HEDGING_NEEDED):
        mt5_account.buy()
    with raises_outcome(ReadFailed, Code.HEDGING_NEEDED):
        fills(mt5_account)
    assert checks(mt5_account)["position mode"].result is CheckResult.FAIL
    mt5_account.restart()
    assert checks(mt5_account)["commands"].result is CheckResult.FAIL
    assert len(mt5_account.terminal.journal()) == 2


def test_fills_of_merged_positions_are_not_reported(mt5_account: Account) -> None:
    (mt5_account.terminal.state_folder / "netting").touch()
    mt5_account.terminal.close()
    mt5_account.terminal.start()
    mt5_account.buy()
    mt5_account.buy("4000")
    with raises_outcome(ReadFailed):
        fills(mt5_account)


def test_mt4_adapter_refuses_metatrader_5(mt5_account: Account, mt5_terminal: Terminal) -> None:
    mt5_account.buy()
    mt5_account.shorten_timeouts("stale_seconds")
    run(mt5_account.adapter.disconnect())
    mt5_account.adapter = create(str(mt5_account.root))
    with raises_outcome(NotSent) as caught:
        mt5_account.buy()
    assert "MetaTrader 5" in caught[0].detail
    assert "of the other type" in checks(mt5_account)["expert advisor"].hint
    assert len(mt5_terminal.journal()) == 1


def test_mt5_adapter_refuses_metatrader_4(account: Account) -> None:
    account.buy()
    other = Account(account.terminal, account.root, hedging=True, stale_seconds=0.3)
    run(account.adapter.disconnect())
    with raises_outcome(NotSent) as caught:
        other.buy()
    assert "MetaTrader 4" in caught[0].detail
    assert "of the other type" in checks(other)["expert advisor"].hint
    account.terminal.simulate("end", ticket=1001, mark="")
    with raises_outcome(NotSent) as caught:
        other.buy()
    assert "MetaTrader 4" in caught[0].detail
    assert "of the other type" in checks(other)["commands"].hint  # the history shows it
    assert len(account.terminal.journal()) == 1


@pytest.mark.parametrize("faults", [{}, {"no_deposit": True}])
def test_mt5_adapter_refuses_metatrader_4_without_trades(
    account: Account, faults: dict[str, bool]
) -> None:
    account.terminal.fault(**faults)
    other = Account(account.terminal, account.root, hedging=True)
    with raises_outcome(NotSent):
        other.buy()
    assert checks(other)["commands"].result is CheckResult.FAIL
    assert account.terminal.journal() == []
    run(other.adapter.disconnect())


def test_mt5_dwx_is_a_separate_broker_type(mt5_account: Account) -> None:
    assert adapter_for("mt5-dwx").broker_type == "mt5-dwx"
    assert mt5_account.adapter.instrument_book(mt5_account.spec) == "mt5-dwx:alice"
    assert capabilities_of("mt5-dwx", mt5_account.spec) == mt5_account.adapter.capabilities(
        mt5_account.spec
    )
    assert checks(mt5_account)["position mode"].detail == "HEDGING"
