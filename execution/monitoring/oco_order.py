"""Which leg of an OCO pair a batch of quotes has reached first: that one fires."""

from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from typing import NamedTuple

from brokers.types import Quote, Side
from common.db.sql import Query
from execution.models import TriggerKind

ZERO = Decimal(0)


class LegRow(NamedTuple):
    """The trigger of a leg. id: the order's; level, distance: quote currency.

    level: of a trailing stop the one that it began with, None until then.
    """

    id: int
    kind: str
    side: str
    pair: str
    level: Decimal | None
    distance: Decimal | None


# Not `IS NOT NULL`: by that the planner would read all legs that there ever were.
IS_LEG = "coalesce({}.oco_group::text, '') <> ''"
LEGS = Query(
    LegRow,
    f"""
SELECT t.order_id AS id, t.kind, t.side, t.pair, t.level, t.distance FROM execution_ordertrigger t
JOIN execution_order o ON o.id = t.order_id
WHERE t.order_id = ANY(%s::bigint[]) AND {IS_LEG.format("o")}
""",
)


def reached_at(
    leg: LegRow, quotes: Sequence[Quote], *, mark: Decimal | None, activation: Decimal | None
) -> int:
    """Return the index of the first quote that reached a leg; their number if none did. Pure.

    mark: the best price since a trailing stop began that is known; activation: the price that it
    waited for before these quotes.
    """
    side = Side(leg.side)
    prices = (
        (index, quote.ask if side is Side.BUY else quote.bid)
        for index, quote in enumerate(quotes)
        if quote.symbol == leg.pair
    )
    if leg.kind == TriggerKind.TRAILING:
        mark = _mark(leg, mark, activation)
        reached = _trailed(prices, side, leg.distance or ZERO, mark, activation)
    else:
        sign = side.sign if leg.kind == TriggerKind.STOP else -side.sign
        level = leg.level or ZERO
        reached = (index for index, price in prices if (price - level) * sign >= 0)
    return next(reached, len(quotes))


def _mark(leg: LegRow, known: Decimal | None, activation: Decimal | None) -> Decimal | None:
    """Return what a trailing stop followed before the quotes; None: nothing yet."""
    if activation is not None or leg.level is None or leg.distance is None:
        return None
    side = Side(leg.side)
    first = leg.level - leg.distance * side.sign  # the price that it began with
    if known is None:
        return first
    return max(first, known) if side is Side.SELL else min(first, known)


def _trailed(
    prices: Iterable[tuple[int, Decimal]],
    side: Side,
    distance: Decimal,
    mark: Decimal | None,
    activation: Decimal | None,
) -> Iterator[int]:
    """Yield the indexes of the prices that are the distance away from the best one so far."""
    for index, price in prices:
        if activation is not None and (price - activation) * side.sign > 0:
            continue
        activation = None
        if mark is None or (price - mark) * side.sign < 0:
            mark = price
        if (price - mark) * side.sign >= distance:
            yield index
