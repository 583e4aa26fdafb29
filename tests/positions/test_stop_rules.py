"""Where break-even and trailing rules put a stop: both sides of each edge, and never back."""

from dataclasses import replace
from decimal import Decimal as D
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from positions.stop_rules import Judgement, MoveKind, RuledPosition, judge

PLAIN: dict[str, Any] = {
    "pair": "EUR/USD", "side": "BUY", "entry_price": D("1.1"), "sl": D("1.09"), "pip": D("0.0001"),
    "tick": D("0.00001"), "stops_level": D(0), "at_broker": True, "targets_done": 0,
    "break_even_target": None, "break_even_profit": None, "break_even_offset": None,
    "break_even_unit": "", "break_even_done": False, "trailing_distance": None,
    "trailing_step": None, "trailing_activation": None, "trailing_unit": "", "atr": None,
    "min_seconds": 5,
    "wait": 0.0, "known_stop": D("1.09"), "water_mark": None, "resumes_beyond": None,
}  # fmt: skip
"""A buy of EUR/USD from 1.1, stop 1.09, without a rule."""


def position(**fields: Any) -> RuledPosition:
    fields.setdefault("known_stop", fields.get("sl", PLAIN["sl"]))
    return RuledPosition(**{**PLAIN, **fields})


def mirrored(one: RuledPosition) -> RuledPosition:
    """Return the sell that mirrors a buy at 1.1."""

    def other(price: D | None) -> D | None:
        return None if price is None else D("2.2") - price

    prices = ("sl", "known_stop", "water_mark", "resumes_beyond")
    changed: dict[str, Any] = {name: other(getattr(one, name)) for name in prices}
    return replace(one, side="SELL", **changed)


def after(one: RuledPosition, price: str | D, last: str | D = "") -> Judgement:
    return judge(one, best=D(price), last=D(last or price))


BREAK_EVEN: dict[str, Any] = {"break_even_profit": D(20)}
TRAILING: dict[str, Any] = {"trailing_distance": D(30), "trailing_step": D(5)}


@pytest.mark.parametrize(
    ("fields", "price", "stop"),
    [
        (BREAK_EVEN, "1.10199", None),
        (BREAK_EVEN, "1.102", "1.1"),
        (BREAK_EVEN | {"break_even_offset": D("1.5")}, "1.102", "1.10015"),
        (BREAK_EVEN | {"break_even_done": True}, "1.11", None),
        (BREAK_EVEN | {"sl": D("1.1")}, "1.11", None),  # it is there already
        (BREAK_EVEN | {"sl": D("1.1005")}, "1.11", None),
        (BREAK_EVEN | {"sl": None}, "1.102", "1.1"),
        (BREAK_EVEN | {"break_even_unit": "BPS"}, "1.10219", None),  # 20 bp of 1.1: 0.0022
        (BREAK_EVEN | {"break_even_unit": "BPS"}, "1.1022", "1.1"),
        ({"break_even_profit": D("0.01"), "break_even_unit": "PRICE"}, "1.10999", None),
        ({"break_even_profit": D("0.01"), "break_even_unit": "PRICE"}, "1.11", "1.1"),
        ({"break_even_profit": D(1), "break_even_unit": "PERCENT"}, "1.11099", None),
        ({"break_even_profit": D(1), "break_even_unit": "PERCENT"}, "1.111", "1.1"),
        ({"break_even_target": 1}, "1.2", None),
        ({"break_even_target": 1, "targets_done": 1}, "1.101", "1.1"),
        ({"break_even_target": 2, "targets_done": 1}, "1.101", None),
        ({"break_even_target": 2, "targets_done": 2}, "1.101", "1.1"),
    ],
)  # fmt: skip
def test_break_even_at_its_edge(fields: dict[str, Any], price: str, stop: str | None) -> None:
    found = after(position(**fields), price)
    assert found.stop == (None if stop is None else D(stop))
    assert found.kind == (MoveKind.BREAK_EVEN if stop else None)


@pytest.mark.parametrize("at_broker", [True, False])
@pytest.mark.parametrize(
    ("side", "entry", "offset", "price", "stop"),
    [
        ("BUY", "1.10003", None, "1.1021", "1.1001"),
        ("SELL", "1.10003", None, "1.098", "1.1"),
        ("BUY", "1.10003", "1.5", "1.1021", "1.1002"),  # 1.10018
        ("SELL", "1.10003", "1.5", "1.098", "1.0998"),  # 1.09988
    ],
)
def test_break_even_between_two_ticks_loses_nothing(
    side: str, entry: str, offset: str | None, price: str, stop: str, at_broker: bool
) -> None:
    one = position(
        **BREAK_EVEN, side=side, entry_price=D(entry), sl=None, tick=D("0.0001"),
        break_even_offset=offset and D(offset), at_broker=at_broker,
    )  # fmt: skip
    found = after(one, price)
    assert (found.stop, found.kind, found.break_even_done) == (D(stop), MoveKind.BREAK_EVEN, True)


@pytest.mark.parametrize(
    ("fields", "price", "stop"),
    [
        (TRAILING | {"sl": D("1.097")}, "1.10049", None),
        (TRAILING | {"sl": D("1.097")}, "1.1005", "1.0975"),
        (TRAILING | {"sl": D("1.097")}, "1.10053", "1.09753"),
        (TRAILING | {"sl": None}, "1.1", "1.097"),
        (TRAILING, "1.1", "1.097"),  # the stop is further away than the distance
        (TRAILING | {"trailing_activation": D(40)}, "1.10399", None),
        (TRAILING | {"trailing_activation": D(40)}, "1.104", "1.101"),
        (TRAILING | {"trailing_step": None, "sl": D("1.097")}, "1.10009", None),
        (TRAILING | {"trailing_step": None, "sl": D("1.097")}, "1.1001", "1.0971"),
        (TRAILING | {"sl": D("1.097"), "tick": D("0.0002")}, "1.1005", None),  # 1.0974
        (TRAILING | {"sl": D("1.097"), "tick": D("0.0002")}, "1.1006", "1.0976"),
        ({"trailing_distance": D("0.0001"), "sl": None}, "1.2", "1.19999"),  # at least one tick
        (
            {"trailing_distance": D("0.0001"), "sl": None, "at_broker": False},
            "1.200005", "1.19999",
        ),
        ({"trailing_distance": D(1), "trailing_unit": "PERCENT", "sl": None}, "1.2", "1.189"),
        ({"trailing_distance": D("0.01"), "trailing_unit": "PRICE", "sl": None}, "1.2", "1.19"),
    ],
)  # fmt: skip
def test_trailing_at_its_edge(fields: dict[str, Any], price: str, stop: str | None) -> None:
    for one, sign in ((position(**fields), 1), (mirrored(position(**fields)), -1)):
        at = D(price) if sign == 1 else D("2.2") - D(price)
        found = after(one, at)
        expected = None if stop is None else D(stop) if sign == 1 else D("2.2") - D(stop)
        assert found.stop == expected
        assert found.kind == (MoveKind.TRAILING if stop else None)


def test_better_of_both_rules_moves_the_stop() -> None:
    both = position(**BREAK_EVEN, **TRAILING)
    found = after(both, "1.102")
    assert (found.stop, found.kind) == (D("1.1"), MoveKind.BREAK_EVEN)
    found = after(both, "1.1035")
    assert (found.stop, found.kind, found.break_even_done) == (
        D("1.1005"), MoveKind.TRAILING, True,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("last", "stop", "due_in"),
    [("1.1033", "1.103", None), ("1.1032", "1.1029", 5), ("1.1009", "1.1006", 5),
     ("1.1003", None, 5), ("1.1", None, 5)],
)  # fmt: skip
def test_brokers_stop_keeps_its_distance_from_the_price(
    last: str, stop: str | None, due_in: float | None
) -> None:
    near = position(**TRAILING, sl=D("1.1001"), stops_level=D("0.0003"), break_even_done=True)
    found = after(near, "1.106", last)
    assert (found.stop, found.due_in) == (None if stop is None else D(stop), due_in)


def test_our_own_stop_may_be_beyond_the_price() -> None:
    ours = position(**TRAILING, at_broker=False, stops_level=D("0.0003"))
    assert after(ours, "1.106", "1.1").stop == D("1.103")  # the next quote closes the position


def test_break_even_waits_for_a_price_that_the_broker_accepts() -> None:
    one = position(**BREAK_EVEN, stops_level=D("0.0003"))
    found = after(one, "1.102", "1.1002")
    assert (found.stop, found.break_even_done, found.due_in) == (None, False, 5)
    found = after(replace(one, water_mark=found.water_mark), "1.1003", "1.1003")
    assert (found.stop, found.break_even_done) == (D("1.1"), True)


def test_move_waits_for_its_time_and_keeps_the_best_price() -> None:
    waits = position(**TRAILING, sl=D("1.1"), wait=2.5)
    found = after(waits, "1.106", "1.105")
    assert (found.stop, found.due_in, found.water_mark) == (None, 2.5, D("1.106"))
    later = replace(waits, wait=0.0, water_mark=found.water_mark)
    assert after(later, "1.105").stop == D("1.103")


def test_stop_set_by_a_person_stays_until_the_price_is_better_than_ever() -> None:
    loosened = position(**TRAILING, sl=D("1.08"), known_stop=D("1.103"), water_mark=D("1.106"))
    found = after(loosened, "1.104")
    assert (found.stop, found.resumes_beyond, found.next_price) == (None, D("1.106"), D("1.1065"))
    later = replace(
        loosened, known_stop=D("1.08"), resumes_beyond=D("1.106"), water_mark=D("1.106")
    )
    assert after(later, "1.10649").stop is None
    assert after(later, "1.1065").stop == D("1.1035")


def test_break_even_that_was_reached_is_not_repeated_after_a_change() -> None:
    one = position(**BREAK_EVEN, sl=D("1.095"), known_stop=D("1.1"), water_mark=D("1.103"))
    found = after(one, "1.103")
    assert (found.stop, found.break_even_done) == (None, True)


def test_break_even_still_follows_a_change_before_it() -> None:
    one = position(**BREAK_EVEN, sl=D("1.08"), known_stop=D("1.09"))
    found = after(one, "1.1")
    assert (found.stop, found.break_even_done, found.next_price) == (None, False, D("1.102"))


distances = st.integers(1, 80).map(D)
rules = st.fixed_dictionaries(
    {
        "break_even_profit": st.none() | distances,
        "break_even_offset": st.none() | st.integers(0, 20).map(D),
        "trailing_distance": st.none() | distances,
        "trailing_step": st.none() | st.integers(1, 30).map(D),
        "trailing_activation": st.none() | distances,
        "sl": st.none() | st.integers(10_800, 11_000).map(lambda n: D(n) / 10_000),
        "at_broker": st.booleans(),
        "stops_level": st.sampled_from([D(0), D("0.0005")]),
        "tick": st.sampled_from([D("0.00001"), D("0.0001"), D("0.00025")]),
        "side": st.sampled_from(["BUY", "SELL"]),
    }
)
walks = st.lists(st.tuples(st.integers(-40, 40), st.booleans()), min_size=1, max_size=60)


@given(rules, walks)
def test_stop_never_moves_back(fields: dict[str, Any], walk: list[tuple[int, bool]]) -> None:
    side = fields.pop("side")
    one = position(**fields)
    one = one if side == "BUY" else mirrored(one)
    sign = 1 if side == "BUY" else -1
    price = D("1.1")
    for ticks, may_move in walk:
        price += sign * D(ticks) / 10_000
        best = price
        found = judge(replace(one, wait=0.0 if may_move else 1.0), best=best, last=price)
        if found.stop is not None:
            assert may_move
            assert one.sl is None or sign * found.stop > sign * one.sl
            if found.kind is MoveKind.TRAILING and one.sl is not None:
                step = max((one.trailing_step or D(1)) * one.pip, one.tick)
                assert sign * (found.stop - one.sl) >= step
            if one.at_broker:
                assert sign * (price - found.stop) >= max(one.stops_level, one.tick)
        if found.next_price is not None and found.stop is None and found.due_in is None:
            # Until that price nothing is missed.
            between = found.next_price - sign * one.tick / 100
            if sign * between > sign * price:
                assert judge(settled(one, found), best=between, last=price).stop is None
        one = settled(one, found)


def settled(one: RuledPosition, found: Judgement) -> RuledPosition:
    """Return the position after a judgement."""
    stop = one.sl if found.stop is None else found.stop
    return replace(
        one, sl=stop, known_stop=stop, water_mark=found.water_mark,
        resumes_beyond=found.resumes_beyond, break_even_done=found.break_even_done, wait=0.0,
    )  # fmt: skip
