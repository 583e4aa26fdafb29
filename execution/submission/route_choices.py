"""Read the accounts of routes, and choose one for each entry."""

from collections.abc import Sequence
from typing import NamedTuple

from common.db.sql import Query, array, rows
from connections import eligibility
from connections.selectors import ROUTE_ACCOUNTS_SQL
from execution.base.rotation import rotation_of
from execution.submission.outcomes import SIDES
from execution.submission.routing import Choice, NoAccount, RouteCandidate, choose, choose_or_wait
from prices.selectors import quote_join_sql

LATENCY_ENTRIES = 20  # of an account, whose answers are averaged


class RoutedRow(NamedTuple):
    """A routed entry to decide about, with its signal."""

    id: int
    connection_id: str
    policy: str
    side: str
    signal_id: int
    feed_id: int
    signal_pair: str


_WAS_TRIED = """(EXISTS (SELECT FROM execution_order x WHERE x.signal_id = o.signal_id
    AND x.connection_id = c.id AND x.leg LIKE 'entry%%'
    AND NOT (x.id = o.id AND o.route_state = 'OPEN'))
  OR EXISTS (SELECT FROM execution_archivedorder a WHERE a.signal_id = o.signal_id
    AND a.connection_id = c.id))"""


def candidates_sql(
    entries: str, was_tried: str, reason: str = eligibility.ROUTE_ACCOUNT_REASON_SQL
) -> str:
    """Return the SELECT of the accounts of routes, as `RouteCandidate`.

    entries: for a FROM, with `o.id` and `o.routed_from_id`. was_tried: whether account `c` got the
    entry before; it is tried once. reason: why the account may not trade now.
    """
    select = f"""
SELECT o.id AS order_id, c.id::text AS connection_id, {eligibility.TRADED_PAIR_SQL} AS pair,
  r.rank, r.share, {was_tried} AS was_tried,
  {reason} AS reason, q.bid, q.ask,
  extract(epoch FROM clock_timestamp() - q.received_at)::int AS quote_age,
  coalesce(h.consecutive_failures, 0) AS failures,
  extract(epoch FROM clock_timestamp() - h.last_error_at)::int AS healthy_seconds,
  (SELECT avg(extract(epoch FROM l.acknowledged_at - l.submitted_at)) FROM (
    SELECT e.acknowledged_at, e.submitted_at FROM execution_order e
    WHERE e.connection_id = c.id AND e.leg LIKE 'entry%%' AND e.submitted_at IS NOT NULL
    ORDER BY e.submitted_at DESC LIMIT {LATENCY_ENTRIES}) l)::float8 AS latency,
  c.name, {eligibility.SYMBOLS_THAT_FIT_SQL} AS symbols
FROM {entries}
{ROUTE_ACCOUNTS_SQL}
LEFT {quote_join_sql("c.data_connection_id", eligibility.TRADED_PAIR_SQL)}
"""
    return select.replace("s.symbol_map", "(s.symbol_map || r.symbol_map)")  # its own come first


CANDIDATES = Query(
    RouteCandidate,
    candidates_sql("execution_order o", _WAS_TRIED) + "WHERE o.id = ANY(%(ids)s::bigint[])",
)

# Of entries that a preview only imagines: their ids are its own.
NOT_STORED = Query(
    RouteCandidate,
    candidates_sql(
        "(SELECT * FROM unnest(%(ids)s::bigint[], %(subscribers)s::uuid[])"
        " AS t(id, routed_from_id)) o",
        "false",
    ),
)


def choices_of(
    entries: Sequence[RoutedRow], candidates: Query[RouteCandidate], *, may_wait: bool
) -> dict[int, Choice | NoAccount | None]:
    """Return the choice for each entry; the accounts are read once for each signal and side.

    candidates: CANDIDATES or NOT_STORED. may_wait: for an account that may not trade yet.
    """
    by_signal: dict[tuple[int, str], list[RoutedRow]] = {}
    for entry in entries:
        by_signal.setdefault((entry.signal_id, entry.side), []).append(entry)
    choices: dict[int, Choice | NoAccount | None] = {}
    for (_, side), of_signal in by_signal.items():
        first = of_signal[0]
        parameters = eligibility.eligibility_parameters(
            feed_id=first.feed_id, direction=side, pair=first.signal_pair
        )
        found = rows(
            candidates,
            {
                **parameters,
                "ids": array([entry.id for entry in of_signal]),
                "subscribers": array([entry.connection_id for entry in of_signal]),
            },
        )
        for entry in of_signal:
            accounts = [one for one in found if one.order_id == entry.id]
            inputs = (entry.policy, SIDES[side], accounts, rotation_of(entry.signal_id))
            choices[entry.id] = (
                choose_or_wait(*inputs, entry.connection_id) if may_wait else choose(*inputs)
            )
    return choices
