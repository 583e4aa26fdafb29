"""Check that the audit trail is as written: nothing was changed, removed or inserted since.

Hashes are computed here and not by the database's functions, which an intruder may have replaced.
Checkpoints are signed with a key that the database does not have: an intruder who rewrites the
whole trail, with all its hashes, cannot sign it.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from django.db import transaction

from common.db.audit_trail_sql import CHECKPOINTS, CONTENT, FUNCTIONS, HEAD, LINES
from common.db.row_security import TRADE, WEB
from common.db.sql import rows, run
from common.hash_chain import (
    EMPTY,
    GIVEN,
    Findings,
    Head,
    check_chain,
    check_head,
    is_signed,
    sign,
)

SALT = "fillcast.audit-trail"
_BATCH = 5_000
_LINES = (
    f"SELECT number, hash, format('%%s %%s %%s, %%s', operation, relation, row_id,"
    f" at AT TIME ZONE 'UTC') AS title, {CONTENT} AS content FROM {LINES} line"
    " WHERE number > %s ORDER BY number LIMIT %s"
)
_RIGHTS = f"""
SELECT role, relation, privilege FROM unnest(ARRAY['{WEB}', '{TRADE}']) role,
  unnest(ARRAY['{LINES}', '{HEAD}', '{CHECKPOINTS}']) relation,
  unnest(ARRAY['INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'TRIGGER']) privilege
WHERE has_table_privilege(role, relation, privilege)
  AND NOT (role = '{TRADE}' AND relation = '{CHECKPOINTS}' AND privilege = 'INSERT')
"""


def verify(tracked: Iterable[str] = (), expected: Sequence[Head] = ()) -> Findings:
    """Read a snapshot of the whole trail and return what is wrong.

    tracked: the tables that must have the trigger. expected: heads that were kept elsewhere.
    """
    found = Findings()
    with transaction.atomic(durable=True):
        rows("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        known = [(head, GIVEN) for head in expected]
        known += list(_checkpoints(found))
        check_chain(found, _numbered(0), known)
        _check_head(found)
        _check_triggers(found, tracked)
        for right in rows(_RIGHTS):
            found.add(f"{right.role} may {right.privilege} in {right.relation}; it may only read.")
    return found


def checkpoint() -> Head | None:
    """Sign the current head if the lines since the last checkpoint are right; else return None."""
    with transaction.atomic():
        last = rows(f"SELECT number, hash FROM {CHECKPOINTS} ORDER BY id DESC LIMIT 1")
        before = Head(last[0].number, last[0].hash) if last else EMPTY
        found = Findings(head=before)
        if before.number and not rows(
            f"SELECT FROM {LINES} WHERE number = %s AND hash = %s", before
        ):
            return None
        check_chain(found, _numbered(before.number), [])
        now = rows(f"SELECT lines, hash FROM {HEAD} WHERE id = 1")
        # What was committed between the two statements is for the next checkpoint.
        if found.wrong or not now or found.head.number > now[0].lines:
            return None
        if found.head != before:
            run(
                f"INSERT INTO {CHECKPOINTS} (at, number, hash, signature)"
                " VALUES (clock_timestamp(), %s, %s, %s)",
                (*found.head, sign(found.head.text, salt=SALT)),
            )
        return found.head


def _numbered(after: int) -> Iterator[Any]:
    while batch := rows(_LINES, (after, _BATCH)):
        yield from batch
        after = batch[-1].number


def _check_head(found: Findings) -> None:
    stray = rows(f"SELECT id, relation, row_id FROM {LINES} WHERE number IS NULL ORDER BY id")
    for line in stray:
        found.add(
            f"The line with id {line.id} ({line.relation} {line.row_id}) has no number: it was"
            " written while the triggers were off."
        )
    head = rows(f"SELECT id, lines, hash FROM {HEAD} ORDER BY id")
    if not head:
        if found.lines:
            found.add("The head was removed. Only checkpoints show if the last lines are missing.")
        return
    check_head(found, Head(head[0].lines, head[0].hash))


def _checkpoints(found: Findings) -> Iterator[tuple[Head, str]]:
    highest = 0
    for row in rows(f"SELECT id, at, number, hash, signature FROM {CHECKPOINTS} ORDER BY id"):
        found.checkpoints += 1
        head, name = Head(row.number, row.hash), f"The checkpoint of {row.at:%Y-%m-%d %H:%M:%S}"
        if not is_signed(head.text, row.signature, salt=SALT):
            found.add(
                f"{name} (line {row.number}) is not signed with this installation's"
                " FILLCAST_SECRET_KEY: it was changed, or the key was."
            )
        if row.number <= highest:
            found.add(f"{name} comes after one of a later line: the trail was shortened.")
        highest = max(highest, row.number)
        yield head, name


def _check_triggers(found: Findings, tracked: Iterable[str]) -> None:
    active = {
        (row.relation, row.function)
        for row in rows(
            "SELECT t.tgrelid::regclass::text AS relation, p.proname AS function FROM pg_trigger t"
            " JOIN pg_proc p ON p.oid = t.tgfoid WHERE t.tgenabled IN ('O', 'A')"
        )
    }
    needed = [(table, "fillcast_add_trail_line") for table in tracked]
    needed += [(LINES, "fillcast_chain_trail")]
    needed += [(table, "fillcast_guard_trail") for table in (LINES, HEAD, CHECKPOINTS)]
    for table, function in needed:
        if (table, function) not in active:
            found.add(f"The trigger of {table} is missing or switched off: changes leave no line.")
    bodies = {
        row.proname: row.prosrc
        for row in rows("SELECT proname, prosrc FROM pg_proc WHERE proname LIKE 'fillcast%trail%'")
    }
    for name, sql in FUNCTIONS.items():
        if bodies.get(name) != sql.split("$body$")[1]:
            found.add(f"The function {name} is not the one of this version.")
