"""What is stored of orders and positions, to show that a late decision overwrites nothing."""

from collections.abc import Callable, Iterable
from typing import Any

from common.db.sql import rows

TABLES = {
    "order": ("execution_order", "id"),
    "position": ("positions_executionposition", "id"),
    "rule": ("positions_stoprule", "position_id"),
    "change": ("execution_entrychange", "id"),
    "trigger": ("execution_ordertrigger", "order_id"),
    "peak": ("execution_pricepeak", "id"),
    "difference": ("execution_driftitem", "id"),
    "pause": ("connections_tradingpause", "id"),
    "halt": ("connections_killswitch", "id"),
    "lane": ("connections_lanelease", "lane"),
    "account": ("execution_accountsyncstate", "connection_id"),
    "stream": ("execution_streamlease", "broker_type"),
    "connection": ("connections_executionconnection", "id"),
    "health": ("connections_connectionhealth", "connection_id"),
    "snapshot": ("connections_accountsnapshot", "connection_id"),
    "decision": ("execution_entrydecision", "order_id"),
    "log line": ("execution_executionlog", "id"),
    "event": ("events_event", "id"),
}
"""Table and key of each kind of row."""

Stored = dict[tuple[str, str], dict[str, Any]]


_ALL = " UNION ALL ".join(
    f"SELECT '{kind}' AS kind, {key}::text AS key, to_jsonb(t) AS row FROM {table} t"
    for kind, (table, key) in TABLES.items()
)


def stored_rows() -> Stored:
    """Return all rows by table and key, each as its columns."""
    return {(one.kind, one.key): one.row for one in rows(_ALL)}


def differences(before: Stored, after: Stored, ignored: Iterable[str] = ()) -> list[str]:
    """Return one line for each column, row, log line or event that has changed.

    ignored: columns, and tables whose rows may be new.
    """
    found = []
    for key in sorted({*before, *after}):
        if key[0] in ignored:
            continue
        name = f"{key[0]} {key[1]}"
        was, now = before.get(key), after.get(key)
        if was is None or now is None:
            shown = {column: value for column, value in (now or was or {}).items() if value}
            found.append(f"{name} is {'new' if was is None else 'gone'}: {shown}")
            continue
        found += [
            f"{name}: {column} was {was[column]!r}, is {now[column]!r}"
            for column in was
            if was[column] != now[column] and column not in ignored
        ]
    return found


def changes_of(write: Callable[[], object], ignored: Iterable[str] = ()) -> list[str]:
    """Return what a decision's write changes in the database."""
    before = stored_rows()
    write()
    return differences(before, stored_rows(), ignored)
