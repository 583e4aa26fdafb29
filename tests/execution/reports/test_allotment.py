"""What one order executes, allotted to the orders that were sent as it: exact, fair, never less."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal as D

from hypothesis import example, given
from hypothesis import strategies as st

from brokers.types import Execution
from execution.reports.allotment import (
    Aggregate,
    Member,
    allot,
    allot_fee,
    by_largest_remainder,
    fill_id_of,
)
from execution.reports.cumulative_fills import InferredFill, inferred_fill_after

AT = datetime(2026, 11, 23, tzinfo=UTC)
WEIGHTS = st.lists(st.integers(0, 10**9), min_size=1, max_size=8).filter(any)


def fill(name: str, quantity: D | int | str, **fields: object) -> Execution:
    return replace(Execution(name, D(quantity), D("1.1"), AT), **fields)  # type: ignore[arg-type]


def group(*quantities: int | str, step: D | int | str = 0) -> Aggregate:
    return Aggregate([Member(n, D(q)) for n, q in enumerate(quantities, 1)], D(step))


def got(shares: Mapping[int, Execution]) -> dict[int, D]:
    return {order_id: share.quantity for order_id, share in shares.items()}


@given(st.integers(0, 10**12), WEIGHTS)
@example(1, [1, 1, 1])
@example(0, [5])
def test_shares_add_up_and_are_the_exact_share_rounded(total: int, weights: list[int]) -> None:
    shares = by_largest_remainder(total, weights)
    assert sum(shares) == total
    for share, weight in zip(shares, weights, strict=True):
        floor = total * weight // sum(weights)
        assert floor <= share <= floor + (total * weight % sum(weights) > 0)
        if total <= sum(weights):
            assert share <= weight


def test_larger_remainder_gets_the_step_that_is_left() -> None:
    # 100 of 300 and 500: 37.5 and 62.5 by size; of equal remainders the first is rounded up
    assert allot(D(100), [D(300), D(500)], D(10)) == [D(40), D(60)]
    # 10 for 100, 100, 200: 2.5, 2.5, 5 → in steps of 1: 3, 2, 5
    assert allot(D(10), [D(100), D(100), D(200)], D(1)) == [D(3), D(2), D(5)]
    # in steps of 0.01, which the amount is no multiple of: the smallest decimal counts
    assert allot(D("0.005"), [D("0.01"), D("0.03")], D("0.01")) == [D("0.001"), D("0.004")]


@given(
    st.decimals(-1000, 1000, places=10),
    st.lists(st.decimals("0.00001", 1000, places=5), min_size=1, max_size=6),
)
@example(D("-0.01"), [D(1), D(2)])
def test_shares_of_a_fee_add_up_exactly(fee: D, weights: list[D]) -> None:
    shares = allot_fee(fee, weights)
    assert sum(shares, D(0)) == fee
    assert all(share * fee >= 0 for share in shares)


def test_each_execution_is_shared_by_what_is_lacking() -> None:
    one = group(100, 300, step=10)
    assert got(one.allot(fill("a", 50))) == {1: D(10), 2: D(40)}  # 12.5 and 37.5
    assert got(one.allot(fill("b", 10))) == {2: D(10)}  # 2.6 and 7.4
    assert [m.filled for m in one.members] == [D(10), D(50)]
    one.allot(fill("c", 340))
    assert [m.filled for m in one.members] == [D(100), D(300)]


def test_first_share_keeps_the_brokers_id() -> None:
    one = group(10, 1000)
    shares = one.allot(fill("deal-1", 1))  # nothing of it is the first member's
    assert {n: share.broker_fill_id for n, share in shares.items()} == {2: "deal-1"}
    shares = one.allot(fill("deal-2", 505))
    assert {n: s.broker_fill_id for n, s in shares.items()} == {1: "deal-2", 2: "deal-2#2"}
    assert len(fill_id_of("x" * 100, 2**62)) < 100


def test_known_execution_is_shared_once() -> None:
    one = group(10, 20)
    assert one.allot(fill("a", 15))
    assert one.allot(fill("a", 15)) == {}
    assert one.filled == 15


def test_fees_and_fees_in_base_add_up() -> None:
    one = group("0.3", "0.6", step="0.1")
    shares = one.allot(fill("a", "0.9", commission=D("0.01"), fee_in_base=D("0.0009"))).values()
    assert sum(s.commission for s in shares) == D("0.01")
    assert sum(s.fee_in_base for s in shares) == D("0.0009")


def test_executions_with_ids_replace_the_cumulative_quantity() -> None:
    one = group(100, 100, step=1)
    assert got(one.allot(fill("", 5, inferred=True))) == {1: D(3), 2: D(2)}
    assert got(one.allot(fill("a", 1))) == {1: D(1)}
    assert got(one.allot(fill("b", 4))) == {1: D(2), 2: D(2)}
    assert [(m.filled, m.inferred) for m in one.members] == [(D(3), D(0)), (D(2), D(0))]
    assert got(one.allot(fill("", 7, inferred=True))) == {1: D(4), 2: D(3)}


def test_correction_changes_the_shares_of_its_execution() -> None:
    one = group(100, 100, step=1)
    one.allot(fill("a", 10))
    shares = one.allot(fill("a", 6, revision=1))
    assert got(shares) == {1: D(3), 2: D(3)}
    assert {s.broker_fill_id for s in shares.values()} == {"a", "a#2"}
    assert one.filled == 6
    assert got(one.allot(fill("a", 9, revision=2))) == {1: D(5), 2: D(4)}
    assert one.allot(fill("a", 1, revision=1)) == {}  # older


def test_what_no_member_lacks_is_the_first_members() -> None:
    one = group(10, 20)
    assert got(one.allot(fill("a", 33))) == {1: D(13), 2: D(20)}


@st.composite
def histories(draw: st.DrawFn) -> tuple[Aggregate, D, list[Execution]]:
    """An order in steps and what is reported of it: executions and sums, in any order, repeated."""
    step = draw(st.sampled_from([D(1), D("0.01"), D(1000)]))
    sizes = draw(st.lists(st.integers(1, 40), min_size=2, max_size=5))
    whole = sum(sizes)
    parts: list[int] = []
    left = whole
    while left and len(parts) < 6:
        parts.append(draw(st.integers(1, left)))
        left -= parts[-1]
    events = [fill(f"f{n}", part * step) for n, part in enumerate(parts)]
    done = 0
    for part in parts:
        done += part
        if draw(st.booleans()):
            events.append(fill("", done * step, inferred=True))
    events = draw(st.permutations([*events, *draw(st.lists(st.sampled_from(events), max_size=3))]))
    members = [Member(n, size * step) for n, size in enumerate(sizes, 1)]
    return Aggregate(members, step), whole * step, list(events)


@given(histories())
def test_members_have_what_the_order_has_whatever_the_order_of_reports(
    history: tuple[Aggregate, D, list[Execution]],
) -> None:
    """The sum is max(cumulative, sum of ids); each member's own count agrees with its share."""
    aggregate, whole, events = history
    ids, largest = dict[str, D](), D(0)
    own = {m.order_id: (D(0), InferredFill()) for m in aggregate.members}  # as each order counts
    for event in events:
        before = [m.filled for m in aggregate.members]
        shares = aggregate.allot(event)
        if event.inferred:
            largest = max(largest, event.quantity)
        elif event.broker_fill_id not in ids:
            ids[event.broker_fill_id] = event.quantity
            assert sum(share.quantity for share in shares.values()) == event.quantity
        for order_id, share in shares.items():
            filled, inferred = own[order_id]
            new = D(0) if share.inferred else share.quantity
            sums = [share] if share.inferred else []
            after = inferred_fill_after(inferred, sums, filled, new)
            own[order_id] = filled + new + after.quantity - inferred.quantity, after
        assert aggregate.filled == max(largest, sum(ids.values(), D(0)))
        for member, was in zip(aggregate.members, before, strict=True):
            assert was <= member.filled <= member.quantity
            assert member.filled % aggregate.step == 0
            assert own[member.order_id][0] == member.filled
            assert own[member.order_id][1].quantity == member.inferred
    if aggregate.filled == whole:
        assert all(member.lacking == 0 for member in aggregate.members)
