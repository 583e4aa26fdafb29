"""Which deals of MetaTrader 5 are the server's own, by which it closes and opens again."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal as D
from typing import Any

import pytest

from brokers.dwx.mt5_deals import OUT, Deal, assign_deals
from brokers.dwx.parse import magic_of
from brokers.dwx.reopenings import closes_by_exits, without_reopenings
from brokers.dwx.sent_commands import CLOSE, SentCommand
from tests.dwx.test_mt5_deals import CID, OTHER, deal

CLOSES = OUT[0]
HALF: dict[str, Any] = {"lots": D("0.05")}
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


def left(*deals: Deal, lots: str | None = "0.1", **how: Any) -> list[int]:
    """Return the numbers of the deals that are not the server's own. lots: as sent."""
    ordered = {magic_of(CID): D(lots)} if lots else {}
    found = without_reopenings(deals, {magic_of(CID): CID}, ordered, **how)
    return [one.number for one in found]


@pytest.mark.parametrize("lots", ["0.1", "0.25", None])
def test_opening_after_an_equal_close_with_the_magic_number_fills_nothing(lots: str | None) -> None:
    """Also of an entry that was filled in part, and without the ledger."""
    again = deal(3, CID, comment="rollover")
    assert left(deal(1, CID), deal(2, CID, CLOSES), again, lots=lots) == [1]


def test_only_the_volume_shows_a_close_without_magic_number() -> None:
    deals = [deal(1, CID), deal(2, entry=CLOSES), deal(3, CID, comment="rollover")]
    assert left(*deals) == [1]
    for lots in ("0.2", None):  # it may have been closed by hand before the rest was filled
        assert left(*deals, lots=lots) == [1, 2, 3]


@pytest.mark.parametrize(
    "between",
    [deal(2, CID, CLOSES, **HALF), deal(2, CID, CLOSES, symbol="DAX"), deal(2, OTHER, CLOSES),
     deal(2, CID, CLOSES, comment="[sl 1.1]"), deal(4, CID, CLOSES)],
)  # fmt: skip
def test_opening_without_an_equal_close_before_it_is_a_fill(between: Deal) -> None:
    assert sorted(left(deal(1, CID), between, deal(3, CID), lots="0.2")) == sorted(
        {1, 3, between.number}
    )


def test_opening_without_a_close_is_kept() -> None:
    """What it is is not known: its volume then does not fit, and the reads fail."""
    stop = deal(2, CID, CLOSES, comment="[sl 1.1]")
    assert left(deal(1, CID), stop, deal(3, CID)) == [1, 2, 3]


def test_close_by_our_exit_is_not_the_servers() -> None:
    """It has the magic number of the last order: the rest of an entry is filled after it."""
    parts = [deal(1, CID, **HALF), deal(2, CID, CLOSES, **HALF), deal(3, CID, **HALF)]
    assert left(*parts, by_exits={2}) == [1, 2, 3]
    assert left(*parts) == [1]


def test_reopening_belongs_to_the_last_close_of_its_volume() -> None:
    """An exit of ours closed half; the server then closed and opened the other half."""
    deals = [
        deal(1, CID), deal(2, CID, CLOSES, **HALF), deal(3, CID, CLOSES, **HALF),
        deal(4, CID, **HALF), deal(5, OTHER, CLOSES, **HALF),
    ]  # fmt: skip
    assert left(*deals) == [1, 2, 5]
    assert left(*deals, by_exits={3}) == [1, 3, 5]


def test_opening_beyond_what_was_ordered_is_no_fill_whichever_close_it_follows() -> None:
    """An exit right after a rollover may be taken for what made the server's close."""
    assert left(deal(1, CID), deal(2, CID, CLOSES), deal(3, CID), by_exits={2}) == [1]


def test_position_older_than_the_history_is_known_from_its_first_reopening() -> None:
    nights = [
        deal(2, CID, CLOSES), deal(3, CID), deal(4, CID, CLOSES), deal(5, CID),
    ]  # fmt: skip
    stop = deal(6, CID, CLOSES, comment="[sl 1.1]")
    magic = magic_of(CID)
    found = without_reopenings([*nights, stop], {}, {magic: D("0.1")}, unreached={magic})
    assert [(one.number, one.again) for one in found] == [(3, True), (6, False)]
    held = assign_deals(found, {}, {}, [])[magic]
    assert held.filled == []
    assert (held.closed, held.remaining_lots) == ([stop], D(0))


def test_first_fill_within_the_history_is_no_reopening() -> None:
    """An exit of another position has the magic number of an order that still waits."""
    assert left(deal(2, CID, CLOSES), deal(3, CID)) == [2, 3]
    assert left(deal(2, CID, CLOSES), deal(3, CID), unreached={magic_of(CID)}, by_exits={2}) == [
        2, 3,
    ]  # fmt: skip


def by_exits(closes: dict[int, int], *sent: int, lots: str = "0.1") -> set[int]:
    """Return which closes exits made. closes: seconds after noon by number; sent: in seconds."""
    deals = [
        deal(number, CID, CLOSES, at=(NOON + timedelta(seconds=at)).replace(tzinfo=None))
        for number, at in closes.items()
    ]
    exits = [
        SentCommand(n, NOON.timestamp() + at, CLOSE, f"x{n}", 5, "EURUSD", D(lots))
        for n, at in enumerate(sent)
    ]
    return closes_by_exits(deals, exits, lambda at: at.replace(tzinfo=UTC))


def test_exit_made_the_close_of_its_volume_that_is_nearest() -> None:
    assert by_exits({2: 0, 3: 45, 4: 300}, 50) == {3}
    assert by_exits({2: 0, 3: 45, 4: 300}, 50, 51) == {2, 3}  # clocks differ a little
    assert by_exits({2: 50, 3: 50}, 50) == {3}
    assert by_exits({2: 0}, 50, lots="0.05") == set()


@pytest.mark.parametrize(("sent", "found"), [(61, set()), (59, {2}), (-599, {2}), (-601, set())])
def test_close_long_before_or_after_an_exit_is_not_its_own(sent: int, found: set[int]) -> None:
    assert by_exits({2: 0}, sent) == found


def test_close_by_a_level_is_no_exit_of_ours() -> None:
    marked = deal(2, CID, CLOSES, comment="[tp 1.2]", at=NOON.replace(tzinfo=None))
    sent = SentCommand(1, NOON.timestamp(), CLOSE, "x1", 5, "EURUSD", D("0.1"))
    assert closes_by_exits([deal(1, CID), marked], [sent], lambda at: NOON) == set()
