"""Which level a quote breaches, which target follows, and how much it closes."""

from decimal import Decimal as D
from functools import partial

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from brokers.base import Side
from positions.levels import Level, breached, next_target, target_quantity

prices = st.decimals("0.00001", "99999", places=5)
ONE = D(1)


@pytest.mark.parametrize(
    ("side", "sl", "tp", "bid", "ask", "expected"),
    [
        (Side.BUY, "1.09", "1.12", "1.1000", "1.1002", None),
        (Side.BUY, "1.09", "1.12", "1.0900", "1.0902", Level.SL),  # met exactly
        (Side.BUY, "1.09", "1.12", "1.0901", "1.0903", None),
        (Side.BUY, "1.09", "1.12", "1.1199", "1.1201", None),  # the ask is there, the bid not
        (Side.BUY, "1.09", "1.12", "1.1200", "1.1202", Level.TP),
        (Side.SELL, "1.12", "1.09", "1.1199", "1.1200", Level.SL),
        (Side.SELL, "1.12", "1.09", "1.1198", "1.1199", None),
        (Side.SELL, "1.12", "1.09", "1.0899", "1.0901", None),  # the bid is there, the ask not
        (Side.SELL, "1.12", "1.09", "1.0898", "1.0900", Level.TP),
        (Side.BUY, "1.11", "1.10", "1.1050", "1.1052", Level.SL),  # both met: the stop
        (Side.SELL, "1.10", "1.11", "1.1050", "1.1052", Level.SL),
        (Side.BUY, None, "1.12", "0.5000", "0.5001", None),
        (Side.SELL, "1.12", None, "0.5000", "0.5001", None),
    ],
)
def test_levels(
    side: Side, sl: str | None, tp: str | None, bid: str, ask: str, expected: Level | None
) -> None:
    stop, target = (D(sl) if sl else None), (D(tp) if tp else None)
    level = breached(side=side, sl=stop, tp=target, bid=D(bid), ask=D(ask))
    assert level is expected


@given(sl=st.none() | prices, tp=st.none() | prices, bid=prices, spread=prices)
def test_a_sell_is_a_buy_in_the_mirror(sl: D | None, tp: D | None, bid: D, spread: D) -> None:
    ask = bid + spread
    mirrored = breached(side=Side.SELL, sl=sl and -sl, tp=tp and -tp, bid=-ask, ask=-bid)
    assert breached(side=Side.BUY, sl=sl, tp=tp, bid=bid, ask=ask) is mirrored


@given(sl=prices, bid=prices, lower=prices, spread=prices)
def test_a_stop_once_met_stays_met_further_down(sl: D, bid: D, lower: D, spread: D) -> None:
    assume(lower <= bid <= sl)
    found = breached(side=Side.BUY, sl=sl, tp=None, bid=lower, ask=lower + spread)
    assert found is Level.SL


def test_targets_come_in_order_and_end() -> None:
    two, halves = [D("1.1"), D("1.2")], [D("0.5"), D("0.5")]
    first = next_target(prices=two, fractions=halves)
    second = next_target(prices=two, fractions=halves, after=1)
    assert first is not None
    assert second is not None
    assert (first.number, first.price, first.is_last, first.leg) == (1, D("1.1"), False, "tp-1")
    assert (second.number, second.price, second.is_last) == (2, D("1.2"), True)
    assert next_target(prices=two, fractions=halves, after=2) is None
    assert next_target(prices=[], fractions=[]) is None


@pytest.mark.parametrize(
    ("number", "fractions", "opened", "free", "expected"),
    [
        (1, ["0.5", "0.5"], "10001", "10001", "5000"),  # 5000.5 floored
        (2, ["0.5", "0.5"], "10001", "5001", "5001"),  # the rest, with the crumb
        (2, ["0.3", "0.3"], "10001", "7001", "3000"),  # sums to 0.6: the rest stays open
        (1, ["0.5", "0.5"], "10001", "1200", "1200"),  # an exit by hand took most of it
        (1, ["1"], "10001", "10001", "10001"),
        (1, ["0.5"], "1", "1", "0"),  # half of one step is nothing
        (2, ["0.5", "0.5"], "1", "1", "1"),
        (1, ["0.5", "0.5"], "10001", "0", "0"),
    ],
)
def test_quantity_of_a_target(
    number: int, fractions: list[str], opened: str, free: str, expected: str
) -> None:
    quantity = target_quantity(
        number=number,
        fractions=[D(text) for text in fractions],
        opened_quantity=D(opened),
        free=D(free),
        step=ONE,
    )
    assert quantity == D(expected)


def test_below_the_brokers_minimum_a_target_is_passed_over() -> None:
    asked = partial(
        target_quantity,
        fractions=[D("0.2"), D("0.8")],
        opened_quantity=D(4000),
        free=D(4000),
        step=D(100),
    )
    assert asked(number=1, minimum=D(1000)) == 0
    assert asked(number=1, minimum=D(800)) == 800
    assert asked(number=2, minimum=D(1000)) == 4000


fractions_to_one = st.lists(st.integers(1, 50), min_size=1, max_size=6).map(
    lambda parts: [D(part * 100 // sum(parts)) / 100 for part in parts]
)


@given(
    shares=fractions_to_one,
    steps=st.integers(1, 10**9),
    step=st.sampled_from([ONE, D("0.01"), D(1000), D("0.00000001")]),
)
def test_all_targets_together_close_the_position_exactly(
    shares: list[D], steps: int, step: D
) -> None:
    shares = [*shares[:-1], ONE - sum(shares[:-1])]
    opened = free = steps * step
    for number in range(1, len(shares) + 1):
        quantity = target_quantity(
            number=number, fractions=shares, opened_quantity=opened, free=free, step=step
        )
        assert 0 <= quantity <= free
        assert quantity % step == 0
        free -= quantity
    assert free == 0
