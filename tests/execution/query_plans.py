"""What tests of query plans share: many rows, the planner's choices, and what was read."""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from django.db import connection, transaction

from common.db.sql import kept_plans, rows, run
from connections.models import ExecutionConnection
from signals.models import Feed
from tests.connections import make
from tests.execution import factories

READ_WHOLE = 1_000_000  # more rows than any table of the tests has
SEED = """
INSERT INTO signals_signal (feed_id, action, currency_pair, direction, order_type, target_prices,
  target_fractions, close_fraction, time_in_force, strategy_id, trade_plan_id, risk_category,
  content_hash, origin, note, approval, published_at, valid_until)
SELECT %(feed)s, 'OPEN', 'EUR/USD', 'BUY', 'MARKET', '{}', '{}', 1, 'GTC', 'old', '', 'normal', '',
  'HAND', '', 'APPROVED', now(), now() - interval '1 minute' FROM generate_series(1, %(n)s);
INSERT INTO execution_order (connection_id, signal_id, leg, pair, symbol, side, order_type,
  time_in_force, quantity, filled_quantity, status, client_order_id, answer_by, submitted_at,
  acknowledged_at, done_at)
SELECT %(connection)s, id, 'entry', 'EUR/USD', 'EURUSD', 'BUY', 'MARKET', 'GTC', 1000, 1000,
  'FILLED', 'old' || id, now(), now(), now(), now() FROM signals_signal WHERE strategy_id = 'old';
INSERT INTO positions_executionposition (connection_id, signal_id, pair, symbol, side, quantity,
  opened_quantity, entry_price, sl, sl_guardian, tp_guardian, pip, conversion_rate, opened_at,
  closed_at)
SELECT %(connection)s, id, 'EUR/USD', 'EURUSD', 'BUY', 0, 1000, 1.1, 1.09, 'BROKER', '', 0.0001, 1,
  now(), now() FROM signals_signal WHERE strategy_id = 'old'
"""
# `FROM jsonb_populate_record(…) r` and not `(jsonb_populate_record(…)).*`, which makes the whole
# row again for each of its columns.
COPIES = """
INSERT INTO connections_executionconnection ({names}) SELECT {names} FROM (
  SELECT r.* FROM connections_executionconnection c CROSS JOIN generate_series(1, %s) n
  CROSS JOIN jsonb_populate_record(c, jsonb_build_object('id', gen_random_uuid(),
    'account', 'copy ' || n) || %s::jsonb) r
  WHERE c.id = %s) t
"""
HEALTH = """
INSERT INTO connections_connectionhealth SELECT r.*
FROM connections_connectionhealth h CROSS JOIN connections_executionconnection c
CROSS JOIN jsonb_populate_record(h, jsonb_build_object(
  'connection_id', c.id, 'status', 'ACTIVE') || %s::jsonb) r
WHERE h.connection_id = %s AND c.id <> h.connection_id
"""


@contextmanager
def without_triggers() -> Iterator[None]:
    """For thousands of rows: what is checked and written down about each takes most of the time."""
    run("SET LOCAL session_replication_role = replica")
    yield
    run("SET LOCAL session_replication_role = DEFAULT")


def account_with_signal() -> tuple[ExecutionConnection, Feed]:
    """Return an account and its feed, which has published one signal: its entry is pending."""
    factories.fake_broker().reset()
    factories.instrument()
    feed = make.feed()
    account = factories.account(feed)
    factories.signal(feed)
    return account, feed


def add_earlier_trades(account: ExecutionConnection, feed: Feed, number: int) -> None:
    """Add trades that have ended, each of a signal of its own."""
    with connection.cursor() as cursor, without_triggers():
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute(SEED, {"feed": feed.pk, "n": number, "connection": account.pk})


@contextmanager
def undone_at_the_end(blocker: Any) -> Iterator[None]:
    """Rows shared by several tests, each of which undoes its own changes."""
    outer = transaction.atomic()
    outer._from_testcase = True  # type: ignore[attr-defined]
    with blocker.unblock(), outer:
        yield
        transaction.set_rollback(True)


def copy_health(of: ExecutionConnection, **changed: Any) -> None:
    """Give all other accounts the health of one, with other values in some columns."""
    with without_triggers():
        run(HEALTH, (json.dumps(changed, default=str), of.pk))


def copy_account(of: ExecutionConnection, number: int, **changed: Any) -> None:
    """Add so many accounts like one, with other values in some columns."""
    fields = ExecutionConnection._meta.concrete_fields
    names = ", ".join(one.column for one in fields if not one.generated)
    with without_triggers():
        run(COPIES.format(names=names), (number, json.dumps(changed), of.pk))


def plan(sql: str, parameters: Any) -> dict[str, Any]:
    """Return the planner's choice without running the query."""
    (row,) = rows(f"EXPLAIN (FORMAT JSON) {sql}", parameters)
    explained = row[0]
    found: dict[str, Any] = (json.loads(explained) if isinstance(explained, str) else explained)[0][
        "Plan"
    ]
    return found


def nodes_of(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for one in node.get("Plans", ()):
        yield from nodes_of(one)


PREPARED = """
SELECT name, statement, generic_plans, custom_plans FROM pg_prepared_statements
WHERE statement NOT LIKE '%set_config%'  -- which has plans kept
"""
Prepared = dict[str, tuple[str, int, int]]


def prepared() -> Prepared:
    """Return the session's statements, and how often each ran by a kept plan and by a new one.

    By name: a text is prepared once for each set of parameter types.
    """
    return {row[0]: tuple(row[1:]) for row in rows(PREPARED)}


def kept_since(before: Prepared) -> list[str]:
    """Return the statements that have run since, by kept plans only."""
    earlier = {name: figures[1:] for name, figures in before.items()}
    return [
        statement
        for name, (statement, generic, custom) in prepared().items()
        if generic > earlier.get(name, (0, 0))[0] and custom == earlier.get(name, (0, 0))[1]
    ]


def rows_read(sql: str, parameters: Any) -> dict[str, int]:
    """Run a statement by the plan that a session keeps; return the rows that it read of each table.

    Those that a filter removed count, too. An index that is read whole, since only a later column
    of it is known, shows neither: that counts as READ_WHOLE.
    """
    statement, values = _prepared(sql, parameters)
    with kept_plans(), connection.cursor() as cursor:
        run(f"PREPARE probe AS {statement}")
        try:
            cursor.execute(_explained(len(values)), values)
            ((explained,),) = cursor.fetchall()
        finally:
            run("DEALLOCATE probe")
    found: dict[str, int] = {}
    plans = json.loads(explained) if isinstance(explained, str) else explained
    for node in nodes_of(plans[0]["Plan"]):
        if (table := node.get("Relation Name")) and node["Node Type"] != "ModifyTable":
            removed = node.get("Rows Removed by Filter", 0)
            removed += node.get("Rows Removed by Index Recheck", 0)
            # Figures are means of all loops; older servers round them down, so count one for each.
            read = max(node["Actual Rows"] + removed, 1) * node["Actual Loops"]
            indexes = [one for one in (node, *_bitmaps_of(node)) if is_read_whole(one)]
            read += READ_WHOLE * len(indexes)
            found[table] = found.get(table, 0) + round(read)
    return found


def _bitmaps_of(node: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the index scans below a bitmap scan of a table."""
    if node["Node Type"] != "Bitmap Heap Scan":
        return []
    return [one for one in nodes_of(node) if one["Node Type"] == "Bitmap Index Scan"]


def is_read_whole(node: dict[str, Any]) -> bool:
    """Return whether the condition of an index scan leaves the index's first column open."""
    if "Index Cond" not in node:
        return False  # the rows that it reads are counted
    (row,) = rows("SELECT pg_get_indexdef(%s::text::regclass, 1, true)", [node["Index Name"]])
    return re.search(rf"\b{row[0]}\b", node["Index Cond"]) is None


def _explained(number: int) -> str:
    values = f"({', '.join(['%s'] * number)})" if number else ""
    return f"EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE probe{values}"


def _prepared(sql: str, parameters: Any) -> tuple[str, list[Any]]:
    """Return a statement with `$1` for each parameter, and their values."""
    if parameters is None:
        return sql, []
    if isinstance(parameters, Mapping):
        names = list(parameters)
        numbered = re.sub(r"%\((\w+)\)s", lambda found: f"${names.index(found[1]) + 1}", sql)
        return numbered.replace("%%", "%"), list(parameters.values())
    parts = re.split(r"(?<!%)%s", sql)
    numbered = "".join(f"${number}{part}" if number else part for number, part in enumerate(parts))
    return numbered.replace("%%", "%"), list(parameters)
