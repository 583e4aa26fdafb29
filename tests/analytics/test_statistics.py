"""Statistics against values that quantstats computed, and where they are not defined."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal as D
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics.results import statistics
from analytics.results.equity import chained
from analytics.results.statistics import TradeSums
from connections.selectors import EquityReading
from tests.analytics import results_oracle

GOLDEN = json.loads((Path(__file__).parent / "data/quantstats-0.0.86.json").read_text())["series"]
returns = st.lists(st.decimals("-0.2", "0.2", places=6), min_size=2, max_size=40)


@pytest.mark.parametrize("series", GOLDEN, ids=lambda one: one["name"])
def test_ratios_equal_those_of_quantstats(series: dict[str, Any]) -> None:
    values = [D(text) for text in series["returns"]]
    found = statistics.return_statistics(values, values)
    for name, value in {
        "sharpe": found.sharpe.value, "sortino": found.sortino.value,
        "max_drawdown": found.max_drawdown.value, "total": found.total.value,
        "volatility": found.volatility.value, "cagr": found.annual.value,
        "calmar": found.calmar.value,
    }.items():  # fmt: skip
        assert float(value or 0) == pytest.approx(series[name], rel=1e-9), name


@given(returns)
def test_sharpe_equals_a_computation_with_floats(values: list[D]) -> None:
    found = statistics.sharpe(values)
    if len(set(values)) == 1:
        assert (found.value, found.why) == (None, statistics.NO_VARIANCE)
    else:
        assert float(found.value or 0) == pytest.approx(
            results_oracle.sharpe([float(r) for r in values]), rel=1e-6, abs=1e-9
        )


@given(returns)
def test_drawdown_lies_between_nothing_and_all_losses(values: list[D]) -> None:
    deepest = statistics.max_drawdown(values)
    losses = statistics.total_return([min(r, D(0)) for r in values])
    assert 0 <= deepest <= -losses + D("1e-15")
    assert (deepest == 0) == all(r >= 0 for r in values)


@pytest.mark.parametrize(
    ("values", "sharpe", "sortino"),
    [
        ([], statistics.FEW_DAYS, statistics.FEW_DAYS),
        (["0.01"], statistics.FEW_DAYS, statistics.FEW_DAYS),
        (["0", "0"], statistics.NO_VARIANCE, statistics.NO_LOSING_DAY),
        (["0.1", "0.1", "0.1"], statistics.NO_VARIANCE, statistics.NO_LOSING_DAY),
        (["-0.1", "-0.1"], statistics.NO_VARIANCE, ""),
        (["0.1", "0.2"], "", statistics.NO_LOSING_DAY),
    ],
)
def test_undefined_ratio_states_why(values: list[str], sharpe: str, sortino: str) -> None:
    series = [D(value) for value in values]
    assert statistics.sharpe(series).why == sharpe
    assert statistics.sortino(series).why == sortino
    assert (statistics.sharpe(series).value is None) == bool(sharpe)


def test_calmar_needs_a_month_and_a_drawdown() -> None:
    assert statistics.calmar([D("0.01")] * 29).why == statistics.FEW_DAYS_A_YEAR
    assert statistics.calmar([D("0.01")] * 30).why == statistics.NO_DRAWDOWN
    assert statistics.calmar([D(-1)] * 30).why == statistics.ALL_LOST


@pytest.mark.parametrize("lost", ["-1", "-1.5"])
@pytest.mark.parametrize("later", ["0.1", "-0.5", "-1.5"])
def test_nothing_changes_the_return_of_an_account_that_has_lost_all(lost: str, later: str) -> None:
    series = [D("0.5"), D(lost), D(later)]
    total = D("1.5") * (1 + D(lost)) - 1
    assert statistics.total_return(series) == statistics.total_return(series[:2]) == total
    assert statistics.drawdowns(series)[1:] == [D(lost)] * 2


def test_deposit_after_a_total_loss_of_the_same_day_hides_none_of_it() -> None:
    at = datetime(2026, 3, 2, tzinfo=UTC)

    def reading(hour: int, equity: int, deposits: int = 0) -> EquityReading:
        return EquityReading(
            UUID(int=1), at.date(), at + timedelta(hours=hour), D(equity), D(equity), D(deposits),
            D(0), D(0), hour == 0, False,
        )  # fmt: skip

    lost = [reading(0, 1_000), reading(1, -500)]
    assert chained(lost) == D("-1.5")
    assert chained([*lost, reading(2, 500, 1_000), reading(3, 250)]) == D("-1.5")


def test_ratios_of_trades_without_a_denominator_state_why() -> None:
    nothing, won = TradeSums(), TradeSums(trades=2, wins=2, gross_profit=D(10))
    assert (nothing.win_rate.why, nothing.profit_factor.why) == (statistics.NO_TRADES,) * 2
    assert (won.profit_factor.why, won.average_loss.why) == (statistics.NO_LOSSES,) * 2
    assert (won.expectancy.value, won.win_rate.value) == (D(5), D(1))


def test_no_return_at_all_states_why() -> None:
    found = statistics.return_statistics([], [], "the account was not read")
    assert found.sharpe.why == found.total.why == "the account was not read"
