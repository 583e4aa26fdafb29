"""Check that the audit trail is as written: nothing was changed, removed or inserted since.

Hashes are computed here and not by the database's functions, which an intruder may have replaced.
Checkpoints are signed with a key that the database does not have: an intruder who rewrites the
whole trail, with all its hashes, cannot sign it.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import chain
from typing import Any, NamedTuple

from django.core import signing
from django.db import transaction

from common.audit_trail_sql import CHECKPOINTS, CONTENT, FUNCTIONS, HEAD, LINES
from common.row_security import TRADE, WEB
from common.sql import rows, run

MAX_FINDINGS = 100
SALT = "fillcast.audit-trail"
_BATCH = 5_000
_GIVEN = "The head that you gave"
_LINES = (
    f"SELECT id, number, hash, at, operation, relation, row_id, {CONTENT} AS content FROM {LINES}"
    " line WHERE number > %s ORDER BY number LIMIT %s"
)
_RIGHTS = f"""
SELECT role, relation, privilege FROM unnest(ARRAY['{WEB}', '{TRADE}']) role,
  unnest(ARRAY['{LINES}', '{HEAD}', '{CHECKPOINTS}']) relation,
  unnest(ARRAY['INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'TRIGGER']) privilege
WHERE has_table_privilege(role, relation, privilege)
  AND NOT (role = '{TRADE}' AND relation = '{CHECKPOINTS}' AND privilege = 'INSERT')
"""


class Head(NamedTuple):
    """The number of lines, and the hash of the last one."""

    number: int
    hash: str


EMPTY = Head(0, "")


@dataclass(slots=True)
class Findings:
    """What is wrong with the trail, in sentences; none if it is proven.

    unmatched: the given heads that do not match. They may be mistyped, so they prove nothing.
    """

    head: Head = EMPTY
    lines: int = 0
    checkpoints: int = 0
    wrong: list[str] = field(default_factory=list)
    more: int = 0
    unmatched: list[str] = field(default_factory=list)

    @property
    def is_proven(self) -> bool:
        """Whether the trail is whole and matches every given head."""
        return not self.wrong and not self.unmatched

    @property
    def count(self) -> int:
        """The number of findings, including those that were not kept."""
        return len(self.wrong) + self.more + len(self.unmatched)

    def add(self, sentence: str) -> None:
        """Add a finding. After MAX_FINDINGS they are only counted."""
        if len(self.wrong) < MAX_FINDINGS:
            self.wrong.append(sentence)
        else:
            self.more += 1


def verify(tracked: Iterable[str] = (), expected: Sequence[Head] = ()) -> Findings:
    """Read a snapshot of the whole trail and return what is wrong.

    tracked: the tables that must have the trigger. expected: heads that were kept elsewhere.
    """
    found = Findings()
    with transaction.atomic(durable=True):
        rows("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        known = [(head, _GIVEN) for head in expected]
        known += list(_checkpoints(found))
        _check_chain(found, known)
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
        _check_chain(found, [])
        now = rows(f"SELECT lines, hash FROM {HEAD} WHERE id = 1")
        # What was committed between the two statements is for the next checkpoint.
        if found.wrong or not now or found.head.number > now[0].lines:
            return None
        if found.head != before:
            run(
                f"INSERT INTO {CHECKPOINTS} (at, number, hash, signature)"
                " VALUES (clock_timestamp(), %s, %s, %s)",
                (*found.head, _sign(found.head)),
            )
        return found.head


def _check_chain(found: Findings, known: Sequence[tuple[Head, str]]) -> None:
    """Check the lines after `found.head`, and set it to the last one.

    known: heads that must match, each with a description of its source.
    """
    expected: dict[int, list[tuple[Head, str]]] = {}
    for head, source in known:
        expected.setdefault(head.number, []).append((head, source))
    for line in _numbered(found.head.number):
        found.lines += 1
        if line.number != found.head.number + 1:
            found.add(_missing(found.head.number + 1, line.number - 1))
        elif sha256((found.head.hash + line.content).encode()).hexdigest() != line.hash:
            found.add(
                f"Line {line.number} ({line.operation} {line.relation} {line.row_id}, {line.at}):"
                " its hash does not match its content and the previous line. It was changed or"
                " inserted, or the previous line was removed."
            )
        for head, source in expected.pop(line.number, []):
            if head.hash != line.hash:
                detail = f"has another hash of line {line.number}: it was rewritten."
                _add_head_finding(found, source, detail)
        found.head = Head(line.number, line.hash)
    for head, source in chain.from_iterable(expected.values()):
        if head.number:
            _add_head_finding(found, source, f"names line {head.number}, which does not exist.")


def _add_head_finding(found: Findings, source: str, detail: str) -> None:
    if source == _GIVEN:
        found.unmatched.append(f"{source} {detail}")
    else:
        found.add(f"{source} {detail}")


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
    stated = Head(head[0].lines, head[0].hash)
    if stated.number > found.head.number:
        found.add(_missing(found.head.number + 1, stated.number) + " They were the last ones.")
    elif stated.number < found.head.number:
        found.add(
            f"The head counts {stated.number} lines, the last one is {found.head.number}: lines"
            " were inserted at the end, or the head was changed."
        )
    elif stated != found.head:
        found.add("The head's hash is not that of the last line: one of them was changed.")


def _checkpoints(found: Findings) -> Iterator[tuple[Head, str]]:
    highest = 0
    for row in rows(f"SELECT id, at, number, hash, signature FROM {CHECKPOINTS} ORDER BY id"):
        found.checkpoints += 1
        head, name = Head(row.number, row.hash), f"The checkpoint of {row.at:%Y-%m-%d %H:%M:%S}"
        if not _is_signed(head, row.signature):
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


def _missing(first: int, last: int) -> str:
    if first == last:
        return f"Line {first} is missing."
    return f"Lines {first} to {last} are missing."


def _text(head: Head) -> str:
    return f"{head.number}:{head.hash}"


def _sign(head: Head) -> str:
    return signing.Signer(salt=SALT).signature(_text(head))


def _is_signed(head: Head, signature: str) -> bool:
    try:
        signing.Signer(salt=SALT).unsign(f"{_text(head)}:{signature}")
    except signing.BadSignature:
        return False
    return True
