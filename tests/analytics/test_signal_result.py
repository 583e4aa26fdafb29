"""The result of a signal: by examples, against the oracle, and in pieces as in one."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics.records.signal_result import (
    MINUTE,
    Change,
    MinutePrices,
    TradeState,
    as_of,
    begin,
    follow,
    from_json,
    results,
    to_json,
)
from tests.analytics.record_oracle import RawSignal, oracle
from tests.examples import examples

D, F = Decimal, Fraction
T = datetime(2026, 1, 5, 12, 0, 10, tzinfo=UTC)
START = T.replace(second=0)
SPREAD = D(2)


def bar(number: int, *bids: int) -> MinutePrices:
    """The minute `number` after the publication's: first, highest, lowest and last bid."""
    first, high, low, last = map(D, bids)
    minute = START + number * MINUTE
    bid = (first, high, low, last)
    ask = (first + SPREAD, high + SPREAD, low + SPREAD, last + SPREAD)
    return MinutePrices(minute, bid, ask)


def opened(**fields: Any) -> TradeState:
    values: dict[str, Any] = {
        "sign": 1, "published_at": T, "price": None, "comes_back": False, "valid_until": None,
        "sl": D(90), "targets": (),
    }  # fmt: skip
    return TradeState(**(values | fields))


def at_market(state: TradeState, bid: int = 98) -> TradeState:
    return begin(state, bid=D(bid), ask=D(bid) + SPREAD, is_immediate=False)


def ended(state: TradeState, bars: Sequence[MinutePrices], *changes: Change) -> TradeState:
    return follow(state, bars, changes, until=START + 100 * MINUTE)


def test_buy_enters_at_the_ask_and_stops_at_the_bid() -> None:
    state = ended(at_market(opened()), [bar(1, 98, 99, 91, 95), bar(2, 95, 96, 89, 92)])
    assert (state.entry, [(x.price, x.reason) for x in state.exits]) == (D(100), [(D(90), "sl")])
    assert results(state) == (D(-10), D(-1))


def test_gap_beyond_the_stop_is_closed_where_the_minute_began() -> None:
    state = ended(at_market(opened()), [bar(1, 80, 85, 79, 84)])
    assert results(state) == (D(-20), D(-2))


def test_stop_comes_before_a_target_of_the_same_minute() -> None:
    state = at_market(opened(targets=((D(110), D(1)),)))
    assert results(ended(state, [bar(1, 98, 120, 89, 100)])) == (D(-10), D(-1))


def test_partial_targets_modify_and_part_close_add_up() -> None:
    state = at_market(opened(targets=((D(110), D("0.5")), (D(130), D("0.5")))))
    bars = [bar(1, 98, 111, 97, 108), bar(3, 108, 109, 105, 106), bar(5, 100, 101, 99, 100)]
    state = ended(
        state, bars,
        Change(START + 2 * MINUTE, "MODIFY", sl=D(101)),
        Change(START + 4 * MINUTE, "CLOSE", fraction=D("0.5"), bid=D(104), ask=D(106)),
    )  # fmt: skip
    # half at 110; half of the rest at 104; the rest at the moved stop, where minute 5 began
    assert [(x.price, x.fraction) for x in state.exits] == [
        (D(110), D("0.5")), (D(104), D("0.25")), (D(100), D("0.25")),
    ]  # fmt: skip
    assert results(state) == (D(6), D("0.6"))  # R by the stop of the entry


def test_state_has_nothing_that_an_earlier_release_cannot_read() -> None:
    """It may run beside this one, or again after it."""
    state = at_market(opened(price=D(95), comes_back=True))
    assert set(to_json(state)) == {
        "sign", "published_at", "price", "comes_back", "valid_until", "sl", "targets", "entry",
        "entered_at", "stop_at_entry", "open", "exits", "mark", "marked_at", "ended_at", "lost_at",
        "changed_minutes", "targets_done",
    }  # fmt: skip
    closed = replace(state, closed_before=D("0.5"))
    assert [from_json(to_json(one)) for one in (state, closed)] == [state, closed]


@pytest.mark.parametrize("version", ["present", "earlier"])
def test_close_of_a_part_before_the_entry_closes_it_once_it_is_entered(version: str) -> None:
    state = at_market(opened(price=D(95), comes_back=True, sl=None, targets=((D(119), D(1)),)))
    if version == "earlier":  # stored without what it had no rule for
        state = from_json(to_json(state))
    half, fifth = (
        Change(T + seconds * timedelta(seconds=1), "CLOSE", fraction=D(part))
        for seconds, part in ((1, "0.5"), (2, "0.2"))
    )
    trade = ended(state, [bar(1, 98, 98, 92, 94), bar(2, 94, 120, 94, 119)], half, fifth)
    assert [(one.price, one.fraction, one.reason) for one in trade.exits] == [
        (D(94), D("0.6"), "close"), (D(119), D("0.4"), "tp"),
    ]  # fmt: skip
    assert results(trade)[0] == ((-1 * D("0.6") + 24 * D("0.4")) / 95 * 100).quantize(D("1e-10"))


def test_new_targets_go_on_at_the_number_of_the_next_one() -> None:
    state = at_market(opened(targets=((D(110), D("0.5")), (D(130), D("0.5")))))
    bars = [bar(1, 98, 111, 97, 108), bar(3, 108, 116, 108, 115), bar(5, 115, 121, 114, 120)]
    newer = ((D(110), D("0.5")), (D(120), D("0.25")), (D(140), D("0.25")))
    state = ended(state, bars, Change(START + 2 * MINUTE, "MODIFY", targets=newer))
    # the first of the new list is not closed again
    assert [(x.price, x.fraction) for x in state.exits] == [
        (D(110), D("0.5")), (D(120), D("0.25")),
    ]  # fmt: skip


def test_shorter_list_of_targets_closes_what_is_left_at_its_last() -> None:
    state = at_market(opened(targets=((D(110), D("0.5")), (D(130), D("0.5")))))
    bars = [bar(1, 98, 111, 97, 108), bar(3, 108, 121, 108, 120)]
    change = Change(START + 2 * MINUTE, "MODIFY", targets=((D(120), D("0.2")),))
    state = ended(state, bars, change)
    assert [x.fraction for x in state.exits] == [D("0.5"), D("0.5")]


def test_new_end_lets_an_entry_wait_longer() -> None:
    waiting = at_market(opened(price=D(95), comes_back=True, valid_until=T + 5 * MINUTE))
    later = Change(T + 2 * MINUTE, "MODIFY", valid_until=T + 20 * MINUTE)
    filled = ended(waiting, [bar(10, 98, 99, 92, 93)], later)
    assert filled.entry == D(95)


def test_rule_that_comes_after_the_end_changes_nothing() -> None:
    lost = [bar(1, 98, 99, 89, 92)]
    rule = Change(START + 5 * MINUTE, "MODIFY", has_rule=True)
    assert results(ended(at_market(opened()), lost, rule)) == (D(-10), D(-1))
    in_time = Change(START + 30 * timedelta(seconds=1), "MODIFY", has_rule=True)
    assert ended(at_market(opened()), lost, in_time).is_lost


def test_open_trade_is_marked_at_the_bid() -> None:
    state = ended(at_market(opened()), [bar(1, 98, 106, 97, 105)])
    assert (state.is_ended, state.open, results(state)) == (False, D(1), (D(5), D("0.5")))


def test_minute_of_the_publication_hits_no_level() -> None:
    state = ended(at_market(opened()), [bar(0, 98, 99, 80, 98)])
    assert not state.exits


def test_limit_waits_and_expires() -> None:
    waiting = at_market(opened(price=D(95), comes_back=True, valid_until=T + 5 * MINUTE))
    assert waiting.entry is None
    filled = ended(waiting, [bar(1, 98, 99, 92, 93)])
    assert (filled.entry, filled.mark) == (D(95), D(93))
    missed = ended(waiting, [bar(1, 98, 99, 97, 98)])
    assert (missed.ended_at, missed.entry) == (T + 5 * MINUTE, None)


def test_passed_entry_counts_at_the_market_and_not_at_its_price() -> None:
    state = at_market(opened(price=D(105), comes_back=True))
    assert state.entry == D(100)
    late = at_market(opened(price=D(95)))  # a stop below the market
    assert late.entry == D(100)


def test_unknown_price_is_never_guessed() -> None:
    lost = begin(opened(), bid=None, ask=None, is_immediate=False)
    assert (lost.is_lost, results(lost)) == (True, (None, None))
    unpriced = ended(at_market(opened()), [], Change(START + 50 * MINUTE, "CLOSE"))
    assert (unpriced.is_lost, results(unpriced)) == (True, (None, None))


@dataclass(frozen=True)
class Case:
    """A trade with its bars and changes."""

    state: TradeState
    bid: int | None
    order_type: str
    bars: list[MinutePrices]
    changes: list[Change]
    minutes: int


prices = st.integers(80, 120)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    sign = draw(st.sampled_from([1, -1]))
    order_type = draw(st.sampled_from(["MARKET", "MARKET", "LIMIT", "STOP", "IF_TOUCHED"]))
    minutes = draw(st.integers(1, 14))
    bars = []
    for number in range(minutes):
        if draw(st.integers(0, 5)):
            first, last, one, other = (draw(prices) for _ in range(4))
            bars.append(bar(number, first, max(first, last, one), min(first, last, other), last))
    changes, shares = [], st.sampled_from([D("0.25"), D("0.5"), D(1)])
    for second in sorted(
        draw(st.lists(st.integers(11, 60 * minutes - 1), max_size=4, unique=True))
    ):
        at = START + timedelta(seconds=second)
        kind = draw(st.sampled_from(["MODIFY", "MODIFY", "CLOSE", "CANCEL"]))
        bid = draw(st.one_of(st.none(), prices))
        is_move = kind == "MODIFY"
        changes.append(
            Change(
                at, kind,
                sl=D(draw(prices)) if is_move and draw(st.booleans()) else None,
                targets=targets(draw, sign) if is_move and draw(st.booleans()) else (),
                price=D(draw(prices))
                if is_move and order_type != "MARKET" and draw(st.booleans()) else None,
                fraction=draw(shares) if kind == "CLOSE" else D(1),
                bid=None if bid is None else D(bid), ask=None if bid is None else bid + SPREAD,
                valid_until=at + timedelta(seconds=draw(st.integers(1, 300)))
                if is_move and order_type != "MARKET" and draw(st.booleans()) else None,
                has_rule=is_move and draw(st.integers(0, 9)) == 9,
            )
        )  # fmt: skip
    has_end = order_type != "MARKET" and draw(st.booleans())
    state = opened(
        sign=sign,
        price=None if order_type == "MARKET" else D(draw(prices)),
        comes_back=order_type in ("LIMIT", "IF_TOUCHED"),
        valid_until=T + timedelta(seconds=draw(st.integers(1, 600))) if has_end else None,
        sl=draw(st.one_of(st.none(), prices.map(D))),
        targets=targets(draw, sign),
    )
    return Case(state, draw(st.one_of(st.none(), prices)), order_type, bars, changes, minutes)


def targets(draw: st.DrawFn, sign: int) -> tuple[tuple[Decimal, Decimal], ...]:
    found = sorted(draw(st.lists(prices, min_size=1, max_size=3, unique=True)), reverse=sign < 0)
    parts = {1: [D(1)], 2: [D("0.5"), D("0.5")], 3: [D("0.5"), D("0.25"), D("0.25")]}
    some = {1: [D("0.25")], 2: [D("0.25"), D("0.5")], 3: [D("0.25"), D("0.25"), D("0.25")]}
    chosen = draw(st.sampled_from([parts, parts, some]))
    return tuple(zip(map(D, found), chosen[len(found)], strict=True))


def market(case: Case) -> tuple[Decimal | None, Decimal | None]:
    return (None, None) if case.bid is None else (D(case.bid), case.bid + SPREAD)


def by_oracle(case: Case) -> tuple[str, Fraction | None, Fraction | None]:
    def exact(value: Decimal | None) -> Fraction | None:
        return None if value is None else F(value)

    bid, ask = market(case)
    shown = RawSignal(
        "OPEN", T, "BUY" if case.state.sign > 0 else "SELL", case.order_type,
        exact(case.state.price), exact(case.state.sl),
        tuple((F(price), F(part)) for price, part in case.state.targets),
        valid_until=case.state.valid_until, bid=exact(bid), ask=exact(ask),
    )  # fmt: skip
    later = [
        RawSignal(
            one.kind, one.at, shown.direction, price=exact(one.price), sl=exact(one.sl),
            targets=tuple((F(price), F(part)) for price, part in one.targets),
            fraction=F(one.fraction), valid_until=one.valid_until, bid=exact(one.bid),
            ask=exact(one.ask), has_rule=one.has_rule,
        )
        for one in case.changes
    ]  # fmt: skip
    names = (("bo", "bh", "bl", "bc"), ("ao", "ah", "al", "ac"))
    bars = {
        one.minute: {
            name: F(value)
            for side, values in zip(names, (one.bid, one.ask), strict=True)
            for name, value in zip(side, values, strict=True)
        }
        for one in case.bars
    }
    return oracle(shown, later, bars, START + case.minutes * MINUTE)


def state_name(state: TradeState) -> str:
    if state.is_lost:
        return "UNKNOWN"
    if state.ended_at is None:
        return "OPEN"
    return "CLOSED" if state.entry is not None else "NOT_ENTERED"


@settings(max_examples=examples(100))
@given(cases())
def test_result_is_that_of_the_oracle(case: Case) -> None:
    bid, ask = market(case)
    state = begin(case.state, bid=bid, ask=ask, is_immediate=False)
    state = follow(state, case.bars, case.changes, until=START + case.minutes * MINUTE)
    name, percent, r = by_oracle(case)
    assert state_name(state) == name
    for found, expected in zip(results(state), (percent, r), strict=True):
        assert (found is None) == (expected is None)
        if found is not None and expected is not None:
            assert abs(F(found) - expected) < F(1, 10**9)


@settings(max_examples=examples(80))
@given(cases(), st.lists(st.integers(1, 13), max_size=4, unique=True))
def test_following_in_pieces_is_the_same(case: Case, cuts: list[int]) -> None:
    bid, ask = market(case)
    begun = begin(case.state, bid=bid, ask=ask, is_immediate=False)
    whole = follow(begun, case.bars, case.changes, until=START + case.minutes * MINUTE)
    state, since = begun, START
    for cut in [*sorted(cut for cut in cuts if cut < case.minutes), case.minutes]:
        to = START + cut * MINUTE
        bars = [one for one in case.bars if since <= one.minute < to]
        changes = [one for one in case.changes if since < one.at <= to]
        if not state.is_ended:  # as the job does
            state = from_json(to_json(follow(state, bars, changes, until=to)))
        since = to
    assert results(state) == results(whole)
    assert state_name(state) == state_name(whole)


@settings(max_examples=examples(80))
@given(cases(), st.integers(1, 13))
def test_trade_as_of_then_is_as_it_was_followed_until_then(case: Case, minutes: int) -> None:
    bid, ask = market(case)
    begun = begin(case.state, bid=bid, ask=ask, is_immediate=False)
    whole = follow(begun, case.bars, case.changes, until=START + case.minutes * MINUTE)
    then = START + min(minutes, case.minutes) * MINUTE + timedelta(microseconds=1)
    bars = [one for one in case.bars if one.minute + MINUTE <= then]
    was = follow(begun, bars, [one for one in case.changes if one.at <= then], until=then)
    found = as_of(whole, then)
    for name in ("entry", "entered_at", "stop_at_entry", "exits", "open", "ended_at", "lost_at"):
        assert getattr(found, name) == getattr(was, name), name


def test_state_of_an_earlier_version_is_read() -> None:
    lost = to_json(begin(opened(), bid=None, ask=None, is_immediate=False))
    del lost["lost_at"]
    assert from_json({**lost, "is_lost": True}).lost_at == T
    assert from_json({**lost, "is_lost": False}).lost_at is None


@pytest.mark.parametrize("sign", [1, -1])
def test_result_is_symmetrical_for_sells(sign: int) -> None:
    state = begin(
        opened(sign=sign, sl=D(100) - 10 * sign), bid=D(100), ask=D(100), is_immediate=False
    )
    flat = MinutePrices(START + MINUTE, (D(100),) * 4, (D(100),) * 4)
    moved = MinutePrices(START + 2 * MINUTE, (D(100) + 5 * sign,) * 4, (D(100) + 5 * sign,) * 4)
    assert results(ended(state, [flat, moved])) == (D(5), D("0.5"))
