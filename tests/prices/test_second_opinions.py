"""A second source is judged by what it has moved, since two sources never quote the same price."""

from datetime import UTC, datetime
from decimal import Decimal as D

import pytest

from brokers.types import Quote
from prices.tick_judge import second_opinion

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)


def quote(bid: str, ask: str) -> Quote:
    return Quote("XAU/USD", D(bid), D(ask), NOON)


OWN, BAD = quote("4000", "4000.5"), quote("3960", "3960.5")
FUTURE = D("44.8"), D("44.8")  # it quotes 3955.2


@pytest.mark.parametrize(
    ("bid", "ask", "offsets", "expected"),
    [
        ("3960", "3960.5", (D(0), D(0)), True),
        ("3969.9", "3970.4", (D(0), D(0)), True),
        ("3980", "3980.5", (D(0), D(0)), None),
        ("3999", "3999.5", (D(0), D(0)), False),
        ("3955.2", "3955.7", FUTURE, False),  # it has not moved
        ("3915.2", "3915.7", FUTURE, True),  # it has moved as far
        ("3935.2", "3935.7", FUTURE, None),  # it has moved half way
        ("3995", "3995.5", (D(-35), D(-35)), True),
        ("4035", "4035.5", (D(-35), D(-35)), False),
        ("3999.5", "4001", (D("0.5"), D("-0.5")), False),  # its spread is wider
    ],
)
def test_second_source_is_judged_by_its_move(
    bid: str, ask: str, offsets: tuple[D, D], expected: bool | None
) -> None:
    assert second_opinion(OWN, BAD, quote(bid, ask), offsets) is expected


def test_middle_of_both_sides_confirms_no_bad_bid() -> None:
    """The market fell by 20: the middle fell as far as that of a quote with a bad bid."""
    one_sided = quote("3960", "4000.5")
    assert second_opinion(OWN, one_sided, quote("3980", "3980.5"), (D(0), D(0))) is None
    assert second_opinion(OWN, one_sided, quote("4000", "4000.5"), (D(0), D(0))) is False


def test_second_source_that_moves_the_other_way_denies() -> None:
    """It has left the last price, but not towards the suspect one."""
    higher = quote("4015", "4015.5")
    assert second_opinion(OWN, BAD, higher, (D(0), D(0))) is False
