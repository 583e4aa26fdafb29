"""Which deals of a MetaTrader 5 position our exits have made, whenever the history is read."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal as D

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokers.dwx.exit_deals import (
    PARTS_WITHIN,
    awaited_parts,
    closes_by_others,
    deals_by_exit,
    may_be_made_in_part,
    unstored_deals,
)
from brokers.dwx.mt5_deals import Deal, HeldPosition, assign_deals
from brokers.dwx.parse import magic_of
from brokers.dwx.sent_commands import OPEN, SentCommand
from tests.dwx.test_mt5_deals import CID, OUT, deal, exit_of

BY_HAND, BY_PROGRAM = "", CID


def closing(number: int, lots: str, by: str = BY_PROGRAM) -> Deal:
    return deal(number, by, OUT, lots=D(lots))


def position(*closed: Deal, lots: str = "0.12", sent: Sequence[SentCommand] = ()) -> HeldPosition:
    """Return a position after these closes. sent: commands with what the ledger has of it."""
    still = D(lots) - sum(one.lots for one in closed)
    deals = [deal(1, CID, lots=D(lots)), *closed]
    return assign_deals(deals, {}, {magic_of(CID): still}, sent)[magic_of(CID)]


def made(exits: Sequence[SentCommand], *closed: Deal) -> dict[int, list[int]]:
    """Return the numbers of the deals of each exit after these closes."""
    found = deals_by_exit(held(*closed), exits)
    return {number: [one.number for one in parts] for number, parts in found.items()}


def held(*closed: Deal) -> HeldPosition:
    """Return a position that all of these have closed, whatever its volume was."""
    return HeldPosition(magic_of(CID), "EURUSD", closed[0].side, [deal(1, CID)], D(0), [*closed])


def test_exit_may_have_been_executed_in_parts() -> None:
    parts = [closing(2, "0.04"), closing(3, "0.02")]
    assert made([exit_of(CID, 9, "0.06")], *parts) == {9: [2, 3]}
    assert made([exit_of(CID, 9, "0.07")], *parts) == {}
    assert made([exit_of(CID, 9, "0.02")], *parts) == {9: [3]}


@pytest.mark.parametrize(
    "by_hand", [closing(2, "0.01", BY_HAND), closing(4, "0.01", BY_HAND)], ids=["before", "between"]
)
def test_close_by_hand_beside_the_parts_of_an_exit_is_none_of_them(by_hand: Deal) -> None:
    parts = [closing(3, "0.04"), closing(5, "0.02")]
    assert made([exit_of(CID, 9, "0.06", after=1)], by_hand, *parts) == {9: [3, 5]}


def test_parts_that_were_closed_before_an_exit_was_sent_are_not_its_own() -> None:
    """The owner closed twice by hand, which was reported; then the exit was executed at once."""
    by_hand = [closing(2, "0.02", BY_HAND), closing(3, "0.02", BY_HAND)]
    ours = exit_of(CID, 8, "0.04", after=3)
    assert made([ours], *by_hand) == {}
    assert not may_be_made_in_part(held(*by_hand), [ours], ours)
    assert made([ours], *by_hand, closing(4, "0.04")) == {8: [4]}


def test_later_part_does_not_change_what_exits_have_made() -> None:
    """The outcome of the first is unknown. Two others were executed, which have its volume."""
    exits = [
        exit_of(CID, 6, "0.06", after=1), exit_of(CID, 7, "0.04", after=1),
        exit_of(CID, 8, "0.02", after=2),
    ]  # fmt: skip
    closed = [closing(2, "0.04"), closing(3, "0.02")]
    for sent in (exits, [replace(one, after=-1) for one in exits]):
        assert made(sent, *closed[:1]) == {7: [2]}
        assert made(sent, *closed) == {7: [2], 8: [3]}
    assert not may_be_made_in_part(held(*closed), exits, exits[0])


def test_later_deal_of_the_whole_volume_does_not_change_what_an_exit_has_made() -> None:
    """Two equal exits: the first was executed in two deals, the second in one."""
    closed = [closing(2, "0.02"), closing(3, "0.02"), closing(4, "0.04")]
    for after in (-1, 3):
        exits = [exit_of(CID, 8, "0.04", after=min(after, 1)), exit_of(CID, 9, "0.04", after=after)]
        assert made(exits, *closed[:2]) == {8: [2, 3]}
        assert made(exits, *closed) == {8: [2, 3], 9: [4]}


def test_exit_that_had_no_effect_does_not_get_the_deal_of_the_next_one() -> None:
    """That would be taken for absent and sent again."""
    exits = [exit_of(CID, 8, "0.04", after=1), exit_of(CID, 9, "0.04", after=1)]
    assert made(exits, closing(2, "0.04")) == {9: [2]}
    assert made(exits, closing(2, "0.04"), closing(3, "0.04")) == {9: [2], 8: [3]}


@pytest.mark.parametrize(
    ("closed", "unknown"),
    [([closing(2, "0.04")], True), ([closing(2, "0.04", BY_HAND)], True),
     ([closing(2, "0.08")], False), ([closing(1, "0.04")], False),
     ([deal(2, CID, OUT, lots=D("0.04"), comment="[sl 1.1]")], False)],
)  # fmt: skip
def test_exit_that_may_have_been_executed_in_part_is_not_absent(
    closed: list[Deal], *, unknown: bool
) -> None:
    ours = exit_of(CID, 9, "0.06", after=1)
    assert may_be_made_in_part(held(*closed), [ours], ours) is unknown


def test_parts_that_older_exits_have_may_be_of_a_newer_one() -> None:
    """Two exits of these volumes had no effect, and were given up."""
    exits = [
        exit_of(CID, 6, "0.04", after=1), exit_of(CID, 7, "0.02", after=1),
        exit_of(CID, 8, "0.06", after=1),
    ]  # fmt: skip
    closed = [closing(2, "0.04"), closing(3, "0.02")]
    assert made(exits, *closed) == {6: [2], 7: [3]}
    assert may_be_made_in_part(held(*closed), exits, exits[2])
    of_an_older_version = [replace(one, after=-1) for one in exits]
    assert not may_be_made_in_part(held(*closed), of_an_older_version, of_an_older_version[2])


def test_first_part_is_awaited_for_some_seconds() -> None:
    """The files are read between the two parts of an exit."""
    ours, first = exit_of(CID, 9, "0.06", after=1), closing(2, "0.04")
    at = datetime.fromtimestamp(ours.at, UTC)

    def awaited(*closed: Deal, seconds: float = 1.0, sent: SentCommand = ours) -> list[int]:
        return list(awaited_parts(held(*closed), [sent], at + timedelta(seconds=seconds)))

    assert awaited(first) == [2]
    assert awaited(first, seconds=PARTS_WITHIN.total_seconds()) == []
    assert awaited(first, closing(3, "0.02")) == []
    assert awaited(closing(2, "0.06")) == []
    assert awaited(closing(2, "0.07")) == []
    assert awaited(first, sent=replace(ours, after=2)) == []
    assert awaited(first, sent=replace(ours, deals=(4,))) == []


def test_close_that_was_reported_as_one_by_others_stays_one() -> None:
    """As of a server that might have opened it again. A second part came after that."""
    entry = replace(exit_of(CID, 5), action=OPEN)
    ours = exit_of(CID, 9, "0.06", after=1)
    parts = [closing(2, "0.04"), closing(3, "0.02")]
    found = unstored_deals(position(parts[0]), [ours], entry, waiting={2})
    assert found == {}
    found = unstored_deals(position(parts[0]), [ours], entry, waiting=())
    assert found == {5: (2,)}
    entry = replace(entry, deals=found[5])
    after = position(*parts, sent=[entry, ours])
    assert deals_by_exit(after, [ours]) == {}
    assert may_be_made_in_part(after, [ours], ours)
    assert unstored_deals(after, [ours], entry, waiting=()) == {5: (2, 3)}
    assert deals_by_exit(position(*parts, sent=[ours]), [ours]) == {9: parts}


def test_what_cannot_be_explained_is_not_stored_as_a_close_by_others() -> None:
    entry = replace(exit_of(CID, 5), action=OPEN)
    unexplained = assign_deals([deal(1, CID), closing(2, "0.02")], {}, {}, [])[magic_of(CID)]
    unexplained.own(closing(2, "0.02"))
    assert unstored_deals(unexplained, [], entry, waiting=()) == {}
    assert unstored_deals(position(closing(2, "0.02")), [], None, waiting=()) == {}


# ---- any history ------------------------------------------------------------------------------
LOTS = st.sampled_from(["0.01", "0.02", "0.03", "0.04", "0.06"])
CLOSES = st.tuples(st.just("close"), LOTS, st.sampled_from([BY_HAND, BY_PROGRAM]))
EXITS = st.tuples(st.just("exit"), LOTS, st.sampled_from([True, False]))
EVENTS = st.lists(st.one_of(CLOSES, EXITS), min_size=1, max_size=14)


def history(events: list[tuple[str, str, str | bool]]) -> tuple[list[Deal], list[SentCommand]]:
    """Return deals and exits in the order of events. Some exits know of no deal before them."""
    deals: list[Deal] = []
    exits: list[SentCommand] = []
    for number, (what, lots, how) in enumerate(events, 2):
        if what == "close":
            deals.append(closing(number, lots, str(how)))
        else:
            exits.append(exit_of(CID, number, lots, after=number - 1 if how else -1))
    return deals, exits


@given(events=EVENTS)
def test_what_a_history_assigned_stays_whatever_follows(
    events: list[tuple[str, str, str | bool]],
) -> None:
    deals, exits = history(events)
    total = sum((one.lots for one in deals), D(0))
    before: dict[int, list[Deal]] = {}
    for count in range(len(deals) + 1):
        now = position(*deals[:count], lots=str(total + 1))
        found = deals_by_exit(now, exits)
        assert found.items() >= before.items()
        given = [one.number for parts in found.values() for one in parts]
        others = [one.number for one in closes_by_others(now, found)]
        assert sorted([*given, *others]) == [one.number for one in deals[:count]]
        lots = {one.number: one.lots for one in exits}
        assert all(sum(d.lots for d in parts) == lots[n] for n, parts in found.items())
        before = found


@given(events=EVENTS)
def test_exits_that_are_sent_later_do_not_change_what_was_assigned(
    events: list[tuple[str, str, str | bool]],
) -> None:
    """At each read only those are known that were sent before it."""
    deals, exits = history(events)
    exits = [replace(one, after=one.number - 1) for one in exits]
    before: dict[int, list[Deal]] = {}
    for number in range(2, len(events) + 2):
        known = [one for one in deals if one.number <= number]
        sent = [one for one in exits if one.number <= number]
        found = deals_by_exit(position(*known, lots="1"), sent)
        assert found.items() >= before.items()
        before = found


@given(events=EVENTS, reads=st.lists(st.booleans(), min_size=14, max_size=14))
def test_what_was_reported_stays_in_a_process_that_reads_the_ledger(
    events: list[tuple[str, str, str | bool]], reads: list[bool]
) -> None:
    """Also what was reported as closed by others, and with exits of an older version."""
    entry = replace(exit_of(CID, 1), action=OPEN)
    deals, exits = history(events)
    sent: dict[int, SentCommand] = {entry.number: entry}
    for (what, _, _), number, is_read in zip(events, range(2, 20), reads, strict=False):
        if what == "exit":
            sent |= {one.number: one for one in exits if one.number == number}
        if not is_read:
            continue
        known = [one for one in deals if one.number <= number]
        stored = {one.number: one.deals for one in sent.values() if one.deals}
        now = position(*known, lots="1", sent=list(sent.values()))
        closes = [one for one in sent.values() if one.action != OPEN]
        for command, numbers in unstored_deals(now, closes, sent[1], waiting=()).items():
            assert numbers[: len(stored.get(command, ()))] == stored.get(command, ())
            assert command == 1 or command not in stored
            sent[command] = replace(sent[command], deals=numbers)
        reported = [one for command in sent.values() for one in command.deals]
        assert sorted(reported) == [one.number for one in known]
        assert now.remaining_lots == 0


HUNDREDTHS = st.integers(0, 4)
SENT = st.tuples(
    st.booleans(), HUNDREDTHS, st.integers(1, 6), HUNDREDTHS, HUNDREDTHS, st.booleans()
)


@given(steps=st.lists(SENT, min_size=1, max_size=6))
def test_exits_are_not_absent_while_our_program_has_closed_more(
    steps: list[tuple[bool, int, int, int, int, bool]],
) -> None:
    """What is absent is sent again: then more would be closed than was to be. Each exit may have
    been executed, in part or not, with closes by hand around it, and be read or not."""
    deals: list[Deal] = []
    exits: list[SentCommand] = []
    by_program = last_read = 0

    def close(hundredths: int, by: str) -> None:
        if hundredths:
            deals.append(closing(len(deals) + 2, f"{hundredths / 100:.2f}", by))

    for is_read, by_hand, lots, first, between, is_whole in steps:
        last_read = len(deals) + 1 if is_read else last_read
        exits.append(exit_of(CID, len(exits) + 1, f"{lots / 100:.2f}", after=last_read))
        part = min(first, lots)
        rest = lots - part if is_whole else 0
        by_program += part + rest
        for hundredths, by in (
            (by_hand, BY_HAND), (part, BY_PROGRAM), (between, BY_HAND), (rest, BY_PROGRAM),
        ):  # fmt: skip
            close(hundredths, by)
        now = position(*deals, lots="2")
        found = deals_by_exit(now, exits)
        may_be = [
            one for one in exits
            if one.number in found or may_be_made_in_part(now, exits, one)
        ]  # fmt: skip
        assert sum(one.lots for one in may_be) * 100 >= by_program
