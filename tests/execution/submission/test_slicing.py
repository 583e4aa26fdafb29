"""The plan of an entry in slices, and what the next slice sends. Pure."""

from decimal import Decimal as D
from itertools import pairwise, permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.money import ceil_to_step
from common.reason_codes import Code
from execution.models import Status
from execution.submission.slicing import (
    PlanState,
    Sibling,
    ending_of,
    plan_slices,
    slices_needed,
    smallest_with_targets,
)

STEPS = st.sampled_from([D("0.00000001"), D("0.001"), D(1), D(10), D(1000)])


@given(
    step=STEPS,
    steps=st.integers(1, 10**7),
    minimum_steps=st.integers(1, 1000),
    slices=st.integers(2, 100),
    variation=st.integers(0, 50),
    seconds=st.integers(10, 800),
    seed=st.integers(0, 2**62),
)
def test_slices_add_up_and_are_in_order(
    step: D, steps: int, minimum_steps: int, slices: int, variation: int, seconds: int, seed: int
) -> None:
    quantity, minimum = step * max(steps, minimum_steps), step * minimum_steps
    arguments = {
        "quantity": quantity, "step": step, "minimum": minimum, "duration": slices * seconds,
        "slices": slices, "variation": D(variation), "seed": seed,
    }  # fmt: skip
    plan = plan_slices(**arguments)  # type: ignore[arg-type]
    assert sum(part.quantity for part in plan) == quantity
    assert all(part.quantity >= minimum and part.quantity % step == 0 for part in plan)
    times = [part.at for part in plan]
    assert times[0] == 0
    assert times[-1] < slices * seconds
    assert all(later - earlier >= 10 for earlier, later in pairwise(times))
    assert len(plan) == min(slices, quantity // ceil_to_step(minimum, step))
    assert plan == plan_slices(**arguments)  # type: ignore[arg-type]  # after a restart


@given(seconds=st.integers(1000, 5000), variation=st.integers(1, 50), seed=st.integers(0, 2**62))
def test_slices_stay_ten_seconds_apart(seconds: int, variation: int, seed: int) -> None:
    parts = plan_slices(
        quantity=D(10_000), step=D(1), minimum=D(1), duration=seconds, slices=100,
        variation=D(variation), seed=seed,
    )  # fmt: skip
    times = [part.at for part in parts]
    assert min(later - earlier for earlier, later in pairwise([*times, seconds])) >= 10
    if seconds >= 2000 and variation >= 20:  # as far as there is room, they vary
        assert len({later - earlier for earlier, later in pairwise(times)}) > 1


def plan(quantity: str, slices: int, variation: int = 0, seed: int = 1) -> list[tuple[int, D]]:
    found = plan_slices(
        quantity=D(quantity), step=D(10), minimum=D(10), duration=600, slices=slices,
        variation=D(variation), seed=seed,
    )  # fmt: skip
    return [(part.at, part.quantity) for part in found]


def test_equal_slices_at_equal_times() -> None:
    assert plan("90", 3) == [(0, D(30)), (200, D(30)), (400, D(30))]
    assert plan("100", 3) == [(0, D(30)), (200, D(30)), (400, D(40))]


def test_too_small_entry_has_fewer_slices() -> None:
    assert plan("20", 6) == [(0, D(10)), (300, D(10))]
    assert plan("10", 6) == [(0, D(10))]


def test_seed_changes_sizes_and_times() -> None:
    one, other = plan("10000", 10, 50, seed=1), plan("10000", 10, 50, seed=2)
    assert one != other
    assert [q for _, q in one] != [q for _, q in other]
    assert [at for at, _ in one] != [at for at, _ in other]


def sibling(number: int, status: str, filled: str = "0", quantity: str = "30", reason: str = ""
            ) -> Sibling:  # fmt: skip
    return Sibling(number, status, reason, D(quantity), D(filled))


def state(number: int, *siblings: Sibling, catches_up: bool = True, free: D | None = D(30),
          is_late: bool = False, minimum: D = D(10)) -> PlanState:  # fmt: skip
    return PlanState(number, (D(30), D(30), D(40)), D(10), minimum, catches_up, is_late,
                     siblings, free)  # fmt: skip


@pytest.mark.parametrize(
    ("number", "siblings", "catches_up", "quantity"),
    [
        (2, [sibling(1, "FILLED", "30"), sibling(3, "PENDING")], True, 30),
        (2, [sibling(1, "DENIED")], True, 60),  # what the first did not send
        (2, [sibling(1, "DENIED")], False, 30),
        (2, [sibling(1, "CANCELLED", "10")], True, 50),
        (2, [sibling(1, "SUBMITTED")], True, 30),  # it may still fill
        (2, [sibling(1, "FAILED", reason="NEVER_ARRIVED")], True, 30),  # never sent again
        (3, [sibling(1, "FILLED", "30"), sibling(2, "FAILED")], True, 40),
        (3, [sibling(1, "FILLED", "30"), sibling(2, "DENIED")], True, 70),
        (4, [sibling(1, "FILLED", "30"), sibling(2, "FILLED", "30"),
             sibling(3, "DENIED", quantity="40")], True, 40),  # what is left at the end
        (4, [sibling(1, "FILLED", "30"), sibling(2, "FILLED", "70", "70")], False, 0),
        (3, [sibling(1, "FILLED", "30"), sibling(2, "FILLED", "70", "70")], False, 0),
        (2, [sibling(1, "CANCELLED", "25")], True, 30),  # 35, in steps of 10
        (4, [sibling(1, "FILLED", "95", "100")], True, 0),  # below the minimum
    ],
)  # fmt: skip
def test_quantity_of_the_next_slice(
    number: int, siblings: list[Sibling], catches_up: bool, quantity: int
) -> None:
    assert state(number, *siblings, catches_up=catches_up).quantity() == quantity


ENDED = st.sampled_from(["FILLED", "DENIED", "CANCELLED", "EXPIRED", "REJECTED", "FAILED"])
LIVE = st.sampled_from(["SUBMITTING", "UNKNOWN", "SUBMITTED", "PARTIALLY_FILLED"])


@given(
    outcomes=st.lists(st.tuples(ENDED | LIVE, st.integers(0, 10)), min_size=4, max_size=4),
    catches_up=st.booleans(),
)
def test_slices_together_never_exceed_the_plan(
    outcomes: list[tuple[str, int]], catches_up: bool
) -> None:
    """Each slice sends what the plan allows, and ends in any way, filled by any part."""
    sent: list[Sibling] = []
    for number, (status, tenths) in enumerate(outcomes, start=1):
        quantity = state(number, *sent, catches_up=catches_up).quantity()
        if quantity > 0:
            filled = quantity if status == "FILLED" else quantity * tenths / 10
            sent.append(Sibling(number, status, "", quantity, D(filled)))
        assert (
            sum(one.quantity if one.status in LIVE_OR_LOST else one.filled for one in sent) <= 100
        )


LIVE_OR_LOST = {"SUBMITTING", "UNKNOWN", "SUBMITTED", "PARTIALLY_FILLED", "FAILED"}


@pytest.mark.parametrize(
    ("status", "reason", "ended"),
    [
        ("DENIED", Code.SLICE_PRICE_LIMIT, None),
        ("DENIED", Code.TARGET_WRONG_SIDE, None),
        ("DENIED", Code.STOP_TOO_NEAR, None),
        ("DENIED", Code.PRICE_UNREASONABLE, None),
        ("DENIED", Code.STOP_AT_ENTRY, Code.STOP_AT_ENTRY),
        ("EXPIRED", Code.SLICE_MISSED, None),
        ("FAILED", Code.NEVER_ARRIVED, None),
        ("FILLED", "", None),
        ("PENDING", Code.TRADING_HALTED, None),
        ("DENIED", Code.TRADING_HALTED, Code.TRADING_HALTED),
        ("CANCELLED", Code.OWNER_CANCELLED, Code.OWNER_CANCELLED),
        ("REJECTED", Code.NO_MONEY, Code.NO_MONEY),
        ("CANCELLED", "", Code.SLICES_ENDED),
    ],
)
def test_what_ends_a_plan(status: str, reason: str, ended: Code | None) -> None:
    assert ending_of([sibling(1, "FILLED", "30"), sibling(2, status, reason=reason)]) is ended


def test_first_slice_that_ended_a_plan_states_why() -> None:
    slices = [
        sibling(1, "FILLED", "30"),
        sibling(2, "REJECTED", reason=Code.REJECTED_BY_BROKER),
        sibling(3, "CANCELLED", reason=Code.OWNER_CANCELLED),
    ]
    found = {ending_of(given) for given in permutations(slices)}
    assert found == {Code.REJECTED_BY_BROKER}


def test_closed_position_and_unknown_slice() -> None:
    assert state(2, sibling(1, "FILLED", "30"), free=D(0)).ended_by() is Code.SLICES_POSITION_CLOSED
    assert state(2, sibling(1, "DENIED"), free=None).ended_by() is Code.SLICES_ENDED
    assert state(2, sibling(1, Status.UNKNOWN)).has_unknown()
    assert not state(2, sibling(1, "SUBMITTED")).has_unknown()


@pytest.mark.parametrize(
    ("minimum", "fractions", "smallest"),
    [
        ("0.01", [], "0.01"),
        ("0.01", ["1"], "0.01"),
        ("0.01", ["0.5", "0.5"], "0.02"),
        ("0.01", ["0.5"], "0.02"),  # and half is left for the stop
        ("0.01", ["0.5", "0.3", "0.2"], "0.05"),
        ("0.01", ["0.34", "0.33", "0.33"], "0.04"),
        ("0.01", ["0.3333"] * 3, "0.04"),  # 0.0001 is left, which the last target takes
        ("0.01", ["0.33"] * 3, "0.04"),
        ("0.01", ["0.5", "0.499"], "0.03"),
        ("0.01", ["0.9"], "0.02"),
        ("0", ["0.5", "0.5"], "0"),
    ],
)
def test_slice_is_large_enough_for_its_smallest_target(
    minimum: str, fractions: list[str], smallest: str
) -> None:
    step, parts = D("0.01"), [D(part) for part in fractions]
    found = smallest_with_targets(D(minimum), step, parts)
    assert found == D(smallest)
    assert all(found * part // step * step >= D(minimum) for part in parts)


@pytest.mark.parametrize(
    ("possible", "needed"), [(1, 1), (2, 2), (3, 2), (4, 2), (5, 3), (10, 5), (99, 50)]
)
def test_targets_must_leave_half_of_the_slices_and_at_least_two(possible: int, needed: int) -> None:
    assert slices_needed(possible) == needed
