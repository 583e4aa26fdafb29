"""Roll-ups fold to what a plain loop over all trades finds."""

from decimal import Decimal as D
from itertools import accumulate, pairwise

from hypothesis import given
from hypothesis import strategies as st

from analytics.results.rollup import NOTHING, Rollup, combine, fold, of_trade

amounts = st.decimals("-5000", "5000", places=4)
trades = st.lists(
    st.tuples(
        amounts,
        st.decimals("0", "20", places=4),
        st.decimals("0", "90000", places=6),
        st.decimals("-30", "30", places=2),
    ),
    max_size=25,
)
Trade = tuple[D, D, D, D]


def oracle(of: list[Trade]) -> Rollup:
    """The definitions of docs/analytics.md, word for word and slow."""
    nets = [pnl - commission + swap for pnl, commission, _, swap in of]
    curve = [D(0), *accumulate(nets)]
    return Rollup(
        trades=len(of),
        wins=sum(net > 0 for net in nets),
        losses=sum(net < 0 for net in nets),
        gross_profit=sum((net for net in nets if net > 0), D(0)),
        gross_loss=-sum((net for net in nets if net < 0), D(0)),
        commission=sum((commission for _, commission, _, _ in of), D(0)),
        swap=sum((swap for *_, swap in of), D(0)),
        total=sum(nets, D(0)),
        highest=max(curve),
        lowest=min(curve),
        drawdown=max(
            (early - late for i, early in enumerate(curve) for late in curve[i:]), default=D(0)
        ),
        duration_seconds=sum((seconds for _, _, seconds, _ in of), D(0)),
    )


def rolled(of: list[Trade]) -> Rollup:
    return fold(
        of_trade(realized_pnl=pnl, commission=commission, duration_seconds=seconds, swap=swap)
        for pnl, commission, seconds, swap in of
    )


@given(trades)
def test_rollup_matches_definitions_trade_by_trade(of: list[Trade]) -> None:
    assert rolled(of) == oracle(of)


@given(trades, st.lists(st.integers(0, 25), max_size=4))
def test_any_split_into_days_combines_to_the_whole(of: list[Trade], cuts: list[int]) -> None:
    days = [of[a:b] for a, b in pairwise(sorted([0, *cuts, max(len(of), 25)]))]
    assert fold(rolled(day) for day in days) == oracle(of)


@given(trades, trades, trades)
def test_combine_is_associative_with_neutral_element(
    a: list[Trade], b: list[Trade], c: list[Trade]
) -> None:
    x, y, z = rolled(a), rolled(b), rolled(c)
    assert combine(combine(x, y), z) == combine(x, combine(y, z))
    assert combine(x, NOTHING) == x == combine(NOTHING, x)


def test_ratios_without_a_trade_or_a_loss_are_none_not_zero() -> None:
    assert NOTHING.win_rate is None
    assert NOTHING.average_duration_seconds is None
    won = of_trade(realized_pnl=D(3), commission=D(1), duration_seconds=D(90))
    assert (won.win_rate, won.profit_factor, won.average_duration_seconds) == (
        D(1),
        None,
        D(90),
    )


def test_drawdown_across_days_is_found() -> None:
    up = of_trade(realized_pnl=D(10), commission=D(0), duration_seconds=D(1))
    down = of_trade(realized_pnl=D(-4), commission=D(0), duration_seconds=D(1))
    assert combine(combine(up, down), down).drawdown == 8
