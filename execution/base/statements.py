"""Parts of SQL statements that write log lines and events, for each row of a source.

A source is what stands after FROM, with the alias `m` for the rows that have `id` (an order's),
`signal_id` and `connection_id`: "moved m" or "moved m JOIN d USING (id)". The other arguments are
SQL expressions over the source.
"""

from collections.abc import Iterable

from common.db.sql import array
from connections.selectors import OWNER_ID_SQL, connection_join_sql
from events.outbox import INSERT_EVENTS_SQL
from execution.models import AT_BROKER, LIVE, OPEN_CHANGE_STATES


def _listed(values: Iterable[str]) -> str:
    return "(" + ", ".join(f"'{value}'" for value in values) + ")"


LIVE_SQL = _listed(LIVE)
"""The statuses of live orders, as partial indexes list them: `status IN {LIVE_SQL}`."""
ALL_PENDING_SQL = "status = 'PENDING' AND id > 0"
"""The pending orders of all accounts, as `execution.models.ALL_PENDING`."""
AT_BROKER_SQL = f"'{array(AT_BROKER)}'"
"""The array of the statuses of orders at their broker: `status = ANY({AT_BROKER_SQL})`."""
OPEN_CHANGE_SQL = _listed(OPEN_CHANGE_STATES)
"""The states of open changes: `state IN {OPEN_CHANGE_SQL}`."""
LOCK_ORDERS = """
SELECT id FROM execution_order WHERE id = ANY(%s) ORDER BY id FOR NO KEY UPDATE
"""


def sent_as_sql(order: str) -> str:
    """Return the client order id that the broker knows an order by.

    Of orders that were sent as one that is the first one's. order: the alias of an order's row.
    """
    return f"""coalesce((SELECT sent.client_order_id FROM execution_order sent
    WHERE sent.id = {order}.aggregate_id), {order}.client_order_id)"""


def is_entry_of_sql(order: str, position: str) -> str:
    """Return SQL: whether an order is an entry of a position's signal on its account.

    By the index `one_entry`, which has entries only: the statement has to be run with parameters,
    `()` if it has none. Without them `%%` is sent as it is written, and the index is not used.
    order, position: aliases of rows.
    """
    return (
        f"{order}.connection_id = {position}.connection_id"
        f" AND {order}.signal_id = {position}.signal_id AND {order}.leg LIKE 'entry%%'"
    )


def opens_position_sql(order: str, position: str) -> str:
    """Return SQL: whether an order is the entry of a position itself, or a slice of it.

    By the index `one_entry`, as `is_entry_of_sql`.
    """
    return f"{is_entry_of_sql(order, position)} AND {order}.position_leg = {position}.entry_leg"


def is_partly_known_sql(order: str) -> str:
    """Return SQL: whether an order has ended and its broker is still asked what it executed.

    An answer about it was lost or has not come yet, and its end came by another way, such as the
    event stream. By the index `order_partly_known`.
    """
    return f"({order}.lookup_after IS NOT NULL AND {order}.done_at IS NOT NULL)"


def counts_as_live_sql(order: str) -> str:
    """Return SQL: whether an order is live or partly known, so that more of it may have filled.

    No index has both: what searches for such orders among all asks for each apart.
    """
    return f"({order}.status IN {LIVE_SQL} OR {is_partly_known_sql(order)})"


def opening_entry_sql(position: str, columns: str = "*") -> str:
    """Return a SELECT of the entry whose ids name a position at its broker.

    Of slices that share the position that is the first one of the plan that has filled: one that
    never arrived is unknown there. A late fill of an earlier slice makes it that one. LIMIT 1 keeps
    the look-up by key: a plain join is planned as a read of all orders that the account ever had,
    and costs more with each trade; before the first ANALYZE, of all orders. To be run with
    parameters, as `is_entry_of_sql`. position: the alias of a position.
    """
    return f"""SELECT {columns} FROM execution_order entry
  WHERE {opens_position_sql("entry", position)}
  ORDER BY entry.filled_quantity = 0, entry.id LIMIT 1"""


def opening_entry_ids_join_sql(position: str) -> str:
    """Return a join with the client order ids `e` of the opening entry, NULL if there is none.

    client_order_id: its own. sent_as: as `sent_as_sql`.
    """
    ids = f"entry.client_order_id, {sent_as_sql('entry')} AS sent_as"
    return f"LEFT JOIN LATERAL ({opening_entry_sql(position, ids)}) e ON true"


def opening_entry_join_sql(position: str) -> str:
    """Return a join with the entry `e` that opened each position, as `opening_entry_sql`."""
    return f"CROSS JOIN LATERAL ({opening_entry_sql(position)}) e"


def log_rows_sql(
    source: str,
    *,
    code: str,
    status: str = "m.status",
    detail: str = "''",
    numbers: str = "jsonb_build_object()",
    order_id: str = "m.id",
    signal_id: str = "m.signal_id",
    where: str = "true",
) -> str:
    """Return a SELECT of one log line for each row of the source, for `insert_log_sql`."""
    return (
        f"SELECT {order_id}, {signal_id}, m.connection_id, {code}, {status}, {detail},"
        f" {numbers}::jsonb FROM {source} WHERE {where}"
    )


def position_log_rows_sql(source: str, **parts: str) -> str:
    """Return the same for lines about positions: `m.id` is a position's. parts: as there."""
    return log_rows_sql(source, status="''", order_id="NULL::bigint", **parts)


def insert_log_sql(*selects: str) -> str:
    """Return an INSERT of the log lines of all selects."""
    return (
        "INSERT INTO execution_executionlog"
        " (order_id, signal_id, connection_id, code, status, detail, numbers)\n"
        + "\nUNION ALL\n".join(selects)
    )


def refusal_payload_sql(code: str, detail: str, numbers: str) -> str:
    """Return the payload of an event about a refusal. numbers: its figures, or an empty object."""
    return (
        f"jsonb_strip_nulls(jsonb_build_object('code', {code}, 'detail', {detail},"
        f" 'figures', nullif({numbers}::jsonb, jsonb_build_object())))"
    )


def event_rows_sql(
    source: str,
    *,
    kind: str,
    payload: str = "jsonb_build_object()",
    order_id: str = "m.id",
    signal_id: str = "m.signal_id",
    where: str = "true",
) -> str:
    """Return a SELECT of one event for each row of the source, for `insert_events_sql`.

    An event belongs to the owner of the connection; `c` is the connection.
    """
    return (
        f"SELECT {kind}, {OWNER_ID_SQL}, m.connection_id, {signal_id}, {order_id},"
        f" {payload}::jsonb FROM {source} {connection_join_sql('m.connection_id')}"
        f" WHERE {where}"
    )


def insert_events_sql(*selects: str) -> str:
    """Return an INSERT of the events of all selects."""
    return f"{INSERT_EVENTS_SQL}\n" + "\nUNION ALL\n".join(selects)
