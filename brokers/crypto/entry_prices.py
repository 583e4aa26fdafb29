"""Entry prices of spot positions, from the account's trades; each read once for a balance.

A balance that is as it was before has the entry price that it had, unless a trade was found
meanwhile. One that is new is read once more after a while: the list of trades may be late.
"""

from dataclasses import dataclass
from decimal import Decimal

from brokers.types import BrokerPosition
from common.clocks import machine_time

FINAL_SECONDS = 30.0  # a list of trades is complete by then


@dataclass(slots=True)
class KnownEntry:
    """A position as it was read. first_at, read_at: machine_time() of the first and the last read
    for this balance."""

    position: BrokerPosition
    first_at: float
    read_at: float


def known(
    entries: dict[str, KnownEntry], symbol: str, balance: Decimal, *, traded_at: float
) -> BrokerPosition | None:
    """Return a position whose entry price needs no read. traded_at: machine_time() when a trade of
    it was last found."""
    entry = entries.get(symbol)
    if entry is None or entry.position.balance != balance or traded_at > entry.read_at:
        return None
    is_final = entry.read_at - entry.first_at >= FINAL_SECONDS
    return entry.position if is_final or machine_time() - entry.first_at < FINAL_SECONDS else None


def remember(
    entries: dict[str, KnownEntry], position: BrokerPosition, *, began: float
) -> BrokerPosition:
    """Keep a position that was just read, from machine_time() `began` on, and return it."""
    before = entries.get(position.symbol)
    is_same = before is not None and before.position.balance == position.balance
    first_at = before.first_at if is_same and before is not None else began
    entries[position.symbol] = KnownEntry(position, first_at, began)
    return position
