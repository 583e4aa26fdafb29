"""MetaTrader 5 by the same files: what it refuses, hedging only, no other's files."""

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
from tests.dwx.factories import Owner, checks, fills, raises_outcome, run
from tests.fakes.dwx.terminal import Terminal, until


def test_a_refusal_is_one_number_for_all_and_so_unknown_until_absent(owner5: Owner) -> None:
    owner5.terminal.fault(error="not enough money")
    request = owner5.order()
    with raises_outcome(OutcomeUnknown, Code.REPLY_LOST) as caught:
        owner5.submit(request)
    assert "4756" in caught[0].detail
    owner5.terminal.fault()

    def is_certain() -> bool:
        price = datetime.now(UTC).timestamp() % 1000 / 1e5
        owner5.terminal.simulate("price", symbol="EURUSD", bid=1 + price, ask=1 + price)
        try:
            return owner5.find(request.client_order_id) is None
        except ReadFailed:
            return False

    until(is_certain, 20)


def test_a_terminal_that_may_not_trade(owner5: Owner) -> None:
    owner5.terminal.fault(error="ErrorCode: 4752")
    with raises_outcome(NotSent, Code.TRADING_DISABLED):
        owner5.buy()
    assert checks(owner5)["trading"].result is CheckResult.FAIL


def test_an_account_of_which_nobody_says_that_it_hedges(owner5: Owner) -> None:
    for said in ({"hedging": False}, {"hedging": None}):
        owner5.change_settings(**said)
        with raises_outcome(Rejected, Code.HEDGING_NEEDED):
            owner5.buy()
        assert checks(owner5)["position mode"].result is CheckResult.FAIL
    assert owner5.terminal.journal() == []
    form = form_of("mt5-dwx")
    for value in (False, None):
        with pytest.raises(InvalidInputError):
            form.validate({**owner5.spec.settings, "hedging": value})
    assert form.validate({**owner5.spec.settings, "hedging": "yes"})["hedging"] is True


def test_a_netting_account_is_refused_once_it_is_seen(owner5: Owner) -> None:
    (owner5.terminal.state_folder / "netting").touch()
    owner5.terminal.close()
    owner5.terminal.start()
    owner5.buy()
    with raises_outcome(OutcomeUnknown) as caught:
        owner5.buy("4000", side=Side.SELL)
    assert "nets" in caught[0].detail
    with raises_outcome(Rejected, Code.HEDGING_NEEDED):
        owner5.buy()
    with raises_outcome(ReadFailed, Code.HEDGING_NEEDED):
        fills(owner5)
    assert checks(owner5)["position mode"].result is CheckResult.FAIL
    owner5.restart()
    assert checks(owner5)["commands"].result is CheckResult.FAIL
    assert len(owner5.terminal.journal()) == 2


def test_lots_that_were_added_to_anothers_are_not_told(owner5: Owner) -> None:
    (owner5.terminal.state_folder / "netting").touch()
    owner5.terminal.close()
    owner5.terminal.start()
    owner5.buy()
    owner5.buy("4000")
    with raises_outcome(ReadFailed):
        fills(owner5)


def test_each_kind_refuses_the_other_metatrader(owner5: Owner, terminal5: Terminal) -> None:
    owner5.buy()
    owner5.shorten_timeouts("stale_seconds")
    run(owner5.adapter.disconnect())
    owner5.adapter = create(str(owner5.root))
    with raises_outcome(NotSent) as caught:
        owner5.buy()
    assert "MetaTrader 5" in caught[0].detail
    assert "of the other type" in checks(owner5)["expert advisor"].hint
    assert len(terminal5.journal()) == 1


def test_a_metatrader_4_under_the_name_of_5(owner: Owner) -> None:
    owner.buy()
    other = Owner(owner.terminal, owner.root, hedging=True, stale_seconds=0.3)
    run(owner.adapter.disconnect())
    with raises_outcome(NotSent) as caught:
        other.buy()
    assert "MetaTrader 4" in caught[0].detail
    assert "of the other type" in checks(other)["expert advisor"].hint
    owner.terminal.simulate("end", ticket=1001, mark="")
    with raises_outcome(NotSent) as caught:
        other.buy()
    assert "MetaTrader 4" in caught[0].detail
    assert "of the other type" in checks(other)["commands"].hint  # the history tells it
    assert len(owner.terminal.journal()) == 1


@pytest.mark.parametrize("shown", [{}, {"no_deposit": True}])
def test_a_metatrader_4_that_has_never_traded(owner: Owner, shown: dict[str, bool]) -> None:
    owner.terminal.fault(**shown)
    other = Owner(owner.terminal, owner.root, hedging=True)
    with raises_outcome(NotSent):
        other.buy()
    assert checks(other)["commands"].result is CheckResult.FAIL
    assert owner.terminal.journal() == []
    run(other.adapter.disconnect())


def test_it_is_a_kind_of_its_own(owner5: Owner) -> None:
    assert adapter_for("mt5-dwx").broker_type == "mt5-dwx"
    assert owner5.adapter.instrument_book(owner5.spec) == "mt5-dwx:alice"
    assert capabilities_of("mt5-dwx", owner5.spec) == owner5.adapter.capabilities(owner5.spec)
    assert checks(owner5)["position mode"].detail == "HEDGING"
