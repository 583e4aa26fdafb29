"""An account's entries of past signals, as the claim would load them, for a replay.

The rows are those of the present account, preset and limits; nothing of them is stored. What stops
the account only now (a pause, an old reading of the account) is left out: a replay asks what a
trading account would have done.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

from common.db.sql import Query, rows
from common.reason_codes import Code
from connections.models import Directions, Instrument
from execution.submission.claim_sql import ACCOUNT_JOINS, ORDER_COLUMNS
from execution.submission.order_loading import with_terms
from execution.submission.rows import LoadedOrder, OrderRow
from signals.models import LIMITED, TRIGGERED, Signal

_COLUMNS = ("ids", "signals", "feeds", "pairs", "traded", "sides", "types", "times", "limits",
            "stops", "published")  # fmt: skip
_FIRST_ID = 2**62  # above those of all stored orders

LOAD = Query(
    LoadedOrder,
    f"""
WITH given AS (
  SELECT * FROM unnest(%(ids)s::bigint[], %(signals)s::bigint[], %(feeds)s::bigint[],
    %(pairs)s::text[], %(traded)s::text[], %(sides)s::text[], %(types)s::text[],
    %(times)s::text[], %(limits)s::numeric[], %(stops)s::numeric[], %(published)s::timestamptz[])
  AS t (id, signal_id, feed_id, currency_pair, pair, side, order_type, time_in_force, limit_price,
    stop_price, published_at)
), orders AS (
  SELECT g.id, g.signal_id, 'entry' AS leg, %(connection)s::uuid AS connection_id, g.pair,
    1 AS priority, g.side, g.order_type, g.time_in_force, g.limit_price, g.stop_price,
    'PENDING' AS status, '' AS reason, statement_timestamp() AS due_at,
    NULL::uuid AS routed_from_id, '' AS route_state, NULL::uuid AS oco_group,
    false AS awaits_condition, false AS has_exit_condition, NULL::bigint AS position_id,
    '' AS symbol, NULL::numeric AS quantity, NULL::numeric AS requested_quantity,
    NULL::numeric AS own_stop_loss, NULL::numeric AS own_take_profit,
    NULL::timestamptz AS own_valid_until, 0 AS attempt, 0 AS send_retries,
    NULL::text AS client_order_id, '' AS pending_action, NULL::timestamptz AS retried_at,
    statement_timestamp() AS created_at, false AS oco_fired
  FROM given g
)
SELECT {ORDER_COLUMNS} FROM orders o JOIN given s ON s.id = o.id
{ACCOUNT_JOINS}
ORDER BY o.id
""",
)


class Terms(NamedTuple):
    """How the account would take the feed. symbol_map: pair → symbol at the broker."""

    multiplier: Decimal = Decimal(1)
    directions: str = Directions.BOTH
    symbol_map: Mapping[str, str] | None = None


def replay_rows(
    connection_id: UUID, book: str, signals: Sequence[Signal], terms: Terms
) -> list[OrderRow]:
    """Return one entry for each OPEN signal, in their order. book: of the account."""
    mapped = dict(terms.symbol_map or {})
    pairs = dict(
        Instrument.objects.filter(book=book, symbol__in=mapped.values()).values_list(
            "symbol", "pair"
        )
    )
    records = [
        (
            _FIRST_ID + number, one.pk, one.feed_id, one.currency_pair,
            pairs.get(mapped.get(one.currency_pair, ""), one.currency_pair), one.direction,
            one.order_type, one.time_in_force,
            one.open_price if one.order_type in LIMITED else None,
            one.stop_price if one.order_type in TRIGGERED else None, one.published_at,
        )
        for number, one in enumerate(signals)
    ]  # fmt: skip
    if not records:
        return []
    given: dict[str, Any] = dict(zip(_COLUMNS, map(list, zip(*records, strict=True)), strict=True))
    loaded = rows(LOAD, {**given, "connection": connection_id})
    return [_as_trading(row, terms) for row in with_terms(loaded)]


def _as_trading(row: OrderRow, terms: Terms) -> OrderRow:
    is_excluded = terms.directions not in (Directions.BOTH, row.side)
    return row._replace(
        is_active=True, is_paused=False, pause_code=None, account_age=0,
        subscription_multiplier=terms.multiplier, symbol_map=dict(terms.symbol_map or {}),
        subscription_code=Code.DIRECTION_EXCLUDED.value if is_excluded else "",
        subscription_expires_at=None,
    )  # fmt: skip
