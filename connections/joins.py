"""Parts of other apps' SQL statements: what they join or test of connections.

The aliases are the same everywhere. c: a connection; h: its health; t: its preset; a: the last
snapshot of its account; i: an instrument that its broker lists. `selectors` exports them all.
"""

from common.reason_codes import Code

OWNER_ID_SQL = "coalesce(c.user_id, c.admin_id)"
"""The owner of a connection `c`."""

CONNECTIONS_WITH_HEALTH_SQL = """connections_executionconnection c
JOIN connections_connectionhealth h ON h.connection_id = c.id"""
"""For a FROM: all connections `c`, archived ones too, each with its health `h`."""

HEALTH_JOIN_SQL = "JOIN connections_connectionhealth h ON h.connection_id = c.id"
ACCOUNTS_OF_USER_SQL = "SELECT id FROM connections_executionconnection WHERE user_id = %(user)s"
"""The ids of a user's connections, archived ones too. Parameter: user."""

NOT_RECONCILED_SQL = (
    "SELECT connection_id FROM connections_connectionhealth"
    " WHERE reconciled_at IS NULL AND status = 'ACTIVE'"
)
"""The connections that answer and were not compared since: a test, an error, a new owner."""

PRESET_JOIN_SQL = "LEFT JOIN connections_tradingpreset t ON t.id = c.preset_id"
"""Joins the preset of `c`, if it has one."""

PRESET_OF_ACCOUNT_SQL = """FROM connections_executionconnection c
LEFT JOIN connections_tradingpreset preset ON preset.id = c.preset_id"""
"""All connections `c`, with their `preset`, if they have one."""


NOT_TWIN_SQL = "{0} NOT IN (SELECT w.connection_id FROM connections_subscriptiontwin w)"
"""SQL: an account is no paper twin. {0}: an expression of its id. Hashed once a statement."""


def not_twin_sql(connection_id: str) -> str:
    """Return the condition that an account, an expression of its id, is or was no paper twin.

    Twins are no followers: statistics over the accounts of a feed leave them out.
    """
    return NOT_TWIN_SQL.format(connection_id)


def is_in_comparison_sql(connection_id: str) -> str:
    """Return the condition that an account is or was a paper twin, or one that has a twin.

    connection_id: an expression of its id. Hashed once a statement.
    """
    return (
        f"{connection_id} IN (SELECT w.connection_id FROM connections_subscriptiontwin w"
        " UNION ALL SELECT b.connection_id FROM connections_subscriptiontwin w"
        " JOIN connections_subscription b ON b.id = w.subscription_id)"
    )


def subscription_join_sql(connection_id: str) -> str:
    """Join the subscription `b` of a connection to a signal's feed (`s`), if there is one or was.

    Operators' accounts take feeds without one, too: one that had ended before the signal is none.

    connection_id: the expression that has the id of the connection `c`, or of the one that has
    routed to it.
    """
    return (
        "LEFT JOIN connections_subscription b"
        f" ON b.connection_id = {connection_id} AND b.feed_id = s.feed_id"
        " AND NOT (c.admin_id IS NOT NULL AND coalesce(b.archived_at <= s.published_at, false))"
    )


ENTRY_SUBSCRIPTION_JOIN_SQL = subscription_join_sql("coalesce(o.routed_from_id, c.id)")
"""Joins the subscription of an entry `o` on `c`: a routed one has that which it was routed from."""

IS_DEMO_SQL = """(c.type = 'paper' OR EXISTS (
    SELECT FROM connections_accountsnapshot ds
    JOIN connections_connectionhealth dh ON dh.connection_id = ds.connection_id
    WHERE ds.connection_id = c.id AND ds.demo AND NOT dh.needs_test
      AND ds.read_at >= coalesce(dh.last_tested_at, '-infinity')))"""
"""Whether the money of an account `c` is virtual, as it was read with its present access."""

SUBSCRIPTION_CODE_SQL = f"""CASE
    WHEN b.archived_at IS NOT NULL THEN '{Code.SUBSCRIPTION_ENDED.value}'
    WHEN b.is_paused THEN '{Code.SUBSCRIPTION_PAUSED.value}'
    WHEN b.demo_only AND NOT {IS_DEMO_SQL} THEN '{Code.SAMPLE_NEEDS_DEMO.value}'
    WHEN b.directions <> 'BOTH' AND b.directions <> o.side THEN '{Code.DIRECTION_EXCLUDED.value}'
    ELSE '' END"""
"""Why the subscription `b` takes an entry `o` no longer, without its time; '': it does."""

ENTRY_SYMBOL_MAP_SQL = """CASE WHEN o.routed_from_id IS NULL THEN b.symbol_map
    ELSE b.symbol_map || coalesce((SELECT r.symbol_map FROM connections_subscriptionroute r
      WHERE r.subscription_id = b.id AND r.connection_id = o.connection_id), '{}'::jsonb) END"""
"""The symbol map of an entry `o` with subscription `b`: an account of a route has its own first."""


def pause_join_sql(*, is_planned: str, planned_at: str) -> str:
    """Return SQL that joins the pause that stops an entry `o` of a signal `s`, if any.

    b: its subscription. An entry that was published before a pause ended is not sent after it
    either. is_planned, planned_at: expressions of whether `o` is a part of an entry with a time of
    its own, and of that time. A pause stops it that is open, or that lasted at its time; of an
    order that was sent it stops changes, only while it is open.
    """
    return f"""LEFT JOIN LATERAL (
  SELECT p.code AS pause_code, p.value AS pause_value, p.maximum AS pause_maximum,
    p.detail AS pause_detail, p.name AS pause_name, p.unit AS pause_unit
  FROM connections_tradingpause p
  WHERE p.connection_id IN (c.id, b.connection_id)
    AND (p.subscription_id = b.id OR p.subscription_id IS NULL AND p.connection_id = c.id)
    AND (p.ended_at IS NULL OR o.status = 'PENDING' AND CASE WHEN {is_planned}
      THEN tstzrange(p.since, greatest(p.since, p.ended_at)) @> {planned_at}
      ELSE p.ended_at > coalesce(o.retried_at, s.published_at) END)
  ORDER BY p.ended_at IS NOT NULL, p.id LIMIT 1) pause ON true"""


LISTED_INSTRUMENTS_SQL = """connections_instrument i
JOIN connections_executionconnection c ON c.instrument_book = i.book"""
"""For a FROM: the instruments that the brokers of connections list."""

HOST_IS_DOWN_SQL = (
    "c.broker_host IN (SELECT host FROM connections_hostcircuit WHERE opened_at IS NOT NULL)"
)
"""Whether the circuit of the host of `c` is open: its broker is not called."""
HOST_IS_UP_SQL = HOST_IS_DOWN_SQL.replace(" IN ", " NOT IN ")

EPOCH_IS_OPEN_SQL = "EXISTS (SELECT FROM connections_epoch WHERE released_at IS NULL)"
"""Whether a recovery epoch is open."""


ROUTE_ACCOUNTS_SQL = """JOIN connections_subscription s ON s.connection_id = o.routed_from_id
  AND s.feed_id = %(feed_id)s::bigint
JOIN connections_subscriptionroute r ON r.subscription_id = s.id
JOIN connections_executionconnection c ON c.id = r.connection_id
LEFT JOIN connections_connectionhealth h ON h.connection_id = c.id"""
"""Joins the accounts `c` of the route of an entry `o`, with places `r`, health `h` and subscription
`s`: the aliases of `eligibility.REASON_SQL`."""


def connection_join_sql(connection_id: str) -> str:
    """Return SQL that joins the connection `c` with this id, an expression."""
    return f"JOIN connections_executionconnection c ON c.id = {connection_id}"


def terms_join_sql(preset_id: str, subscription_id: str) -> str:
    """Return SQL that joins the preset `t` and the subscription `b` with these ids, expressions."""
    return f"""LEFT JOIN connections_tradingpreset t ON t.id = {preset_id}
LEFT JOIN connections_subscription b ON b.id = {subscription_id}"""


def account_join_sql(connection_id: str = "c.id") -> str:
    """Return SQL that joins the snapshot `a` of an account, if it has been read.

    It has currency, balance, equity, free_margin, leverage, position_mode and read_at.
    """
    return f"LEFT JOIN connections_accountsnapshot a ON a.connection_id = {connection_id}"


def is_doubted_sql(book: str, seconds: int) -> str:
    """Return SQL: whether an instrument book was contradicted within so many seconds, and has not
    been read since. book: the alias of its row."""
    return f"""({book}.doubted_at > coalesce({book}.read_at, '-infinity')
    AND {book}.doubted_at > clock_timestamp() - interval '{seconds} seconds')"""


def has_doubted_facts_sql(connection_id: str, seconds: int) -> str:
    """Return SQL: whether what is remembered of an account's symbols is being read again."""
    return f"""EXISTS (SELECT FROM connections_executionconnection dc
    JOIN connections_instrumentbook db ON db.book = dc.instrument_book
    WHERE dc.id = {connection_id} AND {is_doubted_sql("db", seconds)})"""


def has_old_facts_sql(connection_id: str, seconds: int) -> str:
    """Return SQL: whether an account's symbols were not read within so many seconds."""
    return f"""EXISTS (SELECT FROM connections_executionconnection dc
    JOIN connections_instrumentbook db ON db.book = dc.instrument_book
    WHERE dc.id = {connection_id}
      AND db.read_at < clock_timestamp() - interval '{seconds} seconds')"""


def instrument_join_sql(symbol: str) -> str:
    """Return SQL that joins the instrument `i` with this symbol, if the broker of `c` lists it."""
    return (
        f"LEFT JOIN connections_instrument i ON i.book = c.instrument_book AND i.symbol = {symbol}"
    )


CLOSING_PAUSES_SQL = """
SELECT t.connection_id, b.feed_id, t.code, t.detail FROM connections_tradingpause t
LEFT JOIN connections_subscription b ON b.id = t.subscription_id
WHERE t.ended_at IS NULL AND t.action = 'PAUSE_AND_CLOSE' AND b.archived_at IS NULL"""
"""The open pauses whose loss limit closes positions: of an account, or of one feed on it. A limit
ends with its subscription."""

_CLOSES = "k.flatten AND k.released_at IS NULL"
_CLOSING = "k.id AS halt_id, k.set_at, k.cancel_entries"
CLOSING_HALTS_SQL = f"""
SELECT {_CLOSING}, k.scope, k.connection_id, k.feed_id, k.pair
FROM connections_killswitch k
WHERE {_CLOSES} AND k.scope IN ('ALL', 'CONNECTION', 'FEED', 'SYMBOL')
UNION ALL
SELECT {_CLOSING}, 'CONNECTION', c.id, NULL, '' FROM connections_killswitch k
JOIN connections_executionconnection c ON k.user_id IN (c.user_id, c.admin_id)
WHERE {_CLOSES} AND k.scope = 'USER'
UNION ALL
SELECT {_CLOSING}, 'CONNECTION', c.id, NULL, '' FROM connections_killswitch k
JOIN connections_executionconnection c ON c.type = k.broker_type
WHERE {_CLOSES} AND k.scope = 'BROKER_TYPE'"""
"""The halts that close positions and are not released. Those of a tenant or a broker type are
those of each of their accounts."""

CURRENT_EPOCH_SQL = "SELECT lineage, number FROM connections_epoch ORDER BY number DESC LIMIT 1"
"""The newest epoch; no row before the first one."""

RECORD_CLUSTER = "UPDATE connections_epoch SET cluster = %s WHERE number = %s AND cluster <> %s"
"""Stores the server on which an epoch was checked last; it changes when the database is moved."""

ANY_HALT_TO_CARRY_OUT_SQL = """EXISTS (SELECT FROM connections_killswitch
  WHERE released_at IS NULL AND carried_out_at IS NULL AND (cancel_entries OR flatten))"""
"""Whether a halt still has entries to cancel or positions to close."""


def accounts_of_source_sql(source_id: str, broker_types: str) -> str:
    """Return a SELECT of the ids of the accounts of broker types whose prices a source gives.

    source_id, broker_types: expressions; the latter is an array.
    """
    return (
        "SELECT c.id FROM connections_executionconnection c"
        f" WHERE c.data_connection_id = {source_id} AND c.archived_at IS NULL"
        f" AND c.type = ANY({broker_types})"
    )


TYPES_AND_LANES_SQL = """WITH RECURSIVE found AS (
  (SELECT type, lane FROM connections_executionconnection
    WHERE archived_at IS NULL ORDER BY type, lane LIMIT 1)
  UNION ALL
  SELECT n.type, n.lane FROM found f CROSS JOIN LATERAL (
    SELECT c.type, c.lane FROM connections_executionconnection c
    WHERE c.archived_at IS NULL AND (c.type, c.lane) > (f.type, f.lane)
    ORDER BY c.type, c.lane LIMIT 1) n
) SELECT type, lane FROM found"""
"""A SELECT of the broker types and lanes of the live accounts, each pair once.

One step in an index for each pair: DISTINCT would read all accounts."""


def has_accounts_sql(broker_types: str) -> str:
    """Return SQL for whether there are accounts of these broker types, by an index.

    broker_types: an expression of an array. It depends on no row, so the server computes it once
    and reads nothing else of a statement whose WHERE has it and finds none.
    """
    # The next type by its name: of an equal one the planner expects that a scan of all accounts
    # soon finds one, above all where none is of the type.
    return f"""(SELECT EXISTS (SELECT FROM unnest({broker_types}) AS wanted(type)
      WHERE wanted.type = (SELECT min(c.type) FROM connections_executionconnection c
        WHERE c.type >= wanted.type AND c.archived_at IS NULL)))"""
