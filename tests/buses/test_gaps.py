"""Ids that commit out of order are each read once, in every interleaving."""

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from buses.gaps import Gaps


def read(gaps: Gaps, found: list[int], before: str = "", after: str = "") -> Gaps:
    return gaps.after(found, writers_before=set(before), writers_after=set(after))


def test_missing_id_is_kept_until_its_transaction_has_ended() -> None:
    gaps = read(Gaps(5), [6, 9], after="a")
    assert (gaps.last_id, gaps.ranges, gaps.low_water) == (9, [(7, 8)], 6)
    assert read(gaps, [], before="a").ranges == [(7, 8)]
    assert read(gaps, [], before="b") == Gaps(9)


def test_late_id_splits_its_gap() -> None:
    gaps = read(Gaps(0), [10], after="a")
    gaps = read(gaps, [4], before="a")
    assert gaps.ranges == [(1, 3), (5, 9)]
    assert gaps.low_water == 0


def test_stored_gaps_are_read_back() -> None:
    gaps = read(read(Gaps(0), [3], after="ab"), [7], before="ab", after="b")
    assert Gaps.read(gaps.last_id, gaps.stored()) == gaps


def test_rewound_gaps_keep_what_is_below() -> None:
    gaps = read(Gaps(0), [3, 9], after="a")
    assert gaps.below(5).ranges == [(1, 2), (4, 5)]
    assert gaps.below(0) == Gaps(0)


@dataclass
class Table:
    """A table, a sequence and transactions: each opens the table, takes ids, and ends."""

    next_id: int = 1
    visible: set[int] = field(default_factory=set)
    pending: dict[str, list[int]] = field(default_factory=dict)
    names: int = 0

    def begin(self) -> None:
        self.names += 1
        self.pending[f"t{self.names}"] = []

    def insert(self, number: int) -> None:
        if self.pending:
            name = sorted(self.pending)[number % len(self.pending)]
            self.pending[name].append(self.next_id)
            self.next_id += 1

    def end(self, number: int, *, commits: bool) -> None:
        if self.pending:
            ids = self.pending.pop(sorted(self.pending)[number % len(self.pending)])
            if commits:
                self.visible |= set(ids)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(("begin", "insert", "commit", "roll back", "read")), st.integers(0, 9)
        ),
        max_size=60,
    ),
    st.data(),
)
def test_every_committed_id_is_read_once(steps: list[tuple[str, int]], data: st.DataObject) -> None:
    table, gaps, delivered = Table(), Gaps(0), list[int]()

    def turn(action: str, number: int) -> None:
        if action == "begin":
            table.begin()
        elif action == "insert":
            table.insert(number)
        elif action in ("commit", "roll back"):
            table.end(number, commits=action == "commit")

    def read_once(gaps: Gaps) -> Gaps:
        """Others go on between the statements of a read."""
        before = set(table.pending)
        turn(*data.draw(st.sampled_from(steps or [("read", 0)])))
        again = sorted(one for one in table.visible if any(a <= one <= b for a, b in gaps.ranges))
        turn(*data.draw(st.sampled_from(steps or [("read", 0)])))
        new = sorted(one for one in table.visible if one > gaps.last_id)[:3]
        turn(*data.draw(st.sampled_from(steps or [("read", 0)])))
        after = set(table.pending)
        delivered.extend([*again, *new])
        return gaps.after([*again, *new], writers_before=before, writers_after=after)

    for action, number in steps:
        if action == "read":
            gaps = read_once(gaps)
        else:
            turn(action, number)
    while table.pending:
        table.end(0, commits=True)
    steps = [("read", 0)]
    for _ in range(2 + len(table.visible)):
        gaps = read_once(gaps)
    assert sorted(delivered) == sorted(table.visible)
    assert gaps.ranges == []
