"""The candidates of a signal as orders that are not stored, for a preview of its publication."""

from collections.abc import Mapping
from typing import Any

from common.db.sql import Query, columns, rows
from connections.models import Subscription
from execution.fan_out_sql import ENTRIES
from execution.submission.claim_sql import ACCOUNT_JOINS, ORDER_COLUMNS
from execution.submission.order_loading import with_terms
from execution.submission.route_choices import NOT_STORED, RoutedRow, choices_of
from execution.submission.routing import NoAccount
from execution.submission.rows import LoadedOrder, OrderRow
from execution.submission.sizing import Denial

# The rows of ENTRIES with the table's defaults. Their ids are above those of all stored orders.
LOAD = Query(
    LoadedOrder,
    f"""
WITH {ENTRIES}, orders AS (
  SELECT {2**62} + row_number() OVER (ORDER BY e.connection_id) AS id, e.signal_id, e.leg,
    coalesce(r.account, e.connection_id) AS connection_id, coalesce(r.account_pair, e.pair) AS pair,
    e.priority, e.side, e.order_type, e.time_in_force, e.limit_price, e.stop_price, e.status,
    e.reason, e.due_at, e.routed_from_id, e.route_state, e.oco_group, e.awaits_condition,
    e.has_exit_condition,
    NULL::bigint AS position_id, '' AS symbol, NULL::numeric AS quantity,
      NULL::numeric AS requested_quantity, NULL::numeric AS own_stop_loss,
      NULL::numeric AS own_take_profit, NULL::timestamptz AS own_valid_until, 0 AS attempt,
      0 AS send_retries,
    NULL::text AS client_order_id, '' AS pending_action, NULL::timestamptz AS retried_at,
    clock_timestamp() AS created_at, false AS oco_fired
  FROM entries e
  LEFT JOIN unnest(%(subscribers)s::uuid[], %(accounts)s::uuid[], %(account_pairs)s::text[])
    AS r(subscriber, account, account_pair) ON r.subscriber = e.connection_id
)
SELECT {ORDER_COLUMNS}
FROM orders o
CROSS JOIN (SELECT %(feed_id)s::bigint AS feed_id, %(pair)s::text AS currency_pair,
  %(market_now)s::timestamptz AS published_at) s
{ACCOUNT_JOINS}
ORDER BY o.priority, o.id
""",
)


def load_candidates(parameters: Mapping[str, Any]) -> tuple[list[OrderRow], dict[int, Denial]]:
    """Load the candidates, those of routes on the accounts that they would be sent to.

    Also returns the denials of those that no account may take.
    """
    unmoved: dict[str, list[str]] = {"subscribers": [], "accounts": [], "account_pairs": []}
    candidates = with_terms(rows(LOAD, {**parameters, **unmoved}, planned_once=True))
    routed = {row.id: row for row in candidates if row.status == "PENDING" and row.route_state}
    if not routed:
        return candidates, {}
    subscriptions = Subscription.objects.filter(
        feed_id=parameters["feed_id"],
        connection_id__in=[row.connection_id for row in routed.values()],
        archived_at=None,
    )
    policies = {str(one.connection_id): one.route_policy for one in subscriptions}
    entries = [
        RoutedRow(
            row.id, row.connection_id, policies.get(row.connection_id, ""), row.side,
            row.signal_id or 0, parameters["feed_id"], parameters["pair"],
        )
        for row in routed.values()
    ]  # fmt: skip
    choices = choices_of(entries, NOT_STORED, may_wait=True)
    moves, denied = list[tuple[str, str, str]](), dict[int, Denial]()
    for order_id, choice in choices.items():
        if isinstance(choice, NoAccount):
            denied[order_id] = Denial(choice.code, detail=choice.detail)
        elif choice is not None:
            moves.append((routed[order_id].connection_id, choice.connection_id, choice.pair))
    moved = dict(zip(unmoved, columns(moves, 3), strict=True))
    return with_terms(rows(LOAD, {**parameters, **moved}, planned_once=True)), denied
