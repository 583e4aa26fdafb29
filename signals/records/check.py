"""Prove that the record of a feed is as it was sealed: its links, its signals and its results.

Hashes are computed here and not by the database's functions, which an intruder may have replaced.
Anchors are signed with a key that the database does not have. An intruder who has that key too can
rewrite a record of which no subscriber kept a head: docs/records.md states what that means.
"""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

from django.db import transaction

from common.clocks import market_clock
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
from signals.models import RecordStatus
from signals.records.results import check_results
from signals.records.sql import (
    ANCHORS,
    CONTENT,
    FUNCTIONS,
    HEADS,
    LINKS,
    PUBLISHED,
    RESULT_FUNCTIONS,
    TRIGGERS,
)

SALT = "fillcast.feed-record"
BACK_DATED = timedelta(seconds=60)  # longer than a transaction may take from its clock to commit
_BATCH = 5_000
_CHAIN = (
    "SELECT number, hash, format('%%s S-%%s, %%s UTC', kind, signal_id, sealed_at AT TIME ZONE"
    f" 'UTC') AS title, {CONTENT} AS content FROM {LINKS} link"
    " WHERE feed_id = %s AND number > %s ORDER BY number LIMIT %s"
)
# What each link states of time, beside the one before it.
_TIMES = f"""
SELECT number, signal_id, sealed_at, sealed_later, published, last_published, last_sealed FROM (
  SELECT number, signal_id, sealed_at, sealed_later,
    CASE WHEN {PUBLISHED} THEN (terms ->> 'published_at')::timestamptz END AS published,
    max((terms ->> 'published_at')::timestamptz) FILTER (WHERE {PUBLISHED}) OVER earlier
      AS last_published,
    max(sealed_at) OVER earlier AS last_sealed
  FROM {LINKS} WHERE feed_id = %(feed)s AND number IS NOT NULL
  WINDOW earlier AS (ORDER BY number ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)) x
WHERE last_sealed > sealed_at OR last_published > published + %(limit)s
  OR (%(is_real)s AND NOT sealed_later AND sealed_at > published + %(limit)s) ORDER BY number
"""
_CHANGED = f"""
SELECT l.number, l.signal_id, l.terms, s.id IS NULL AS is_gone, s.feed_id <> l.feed_id AS is_moved,
  signals_record_terms(s) AS now
FROM {LINKS} l LEFT JOIN signals_signal s ON s.id = l.signal_id
WHERE l.feed_id = %s AND l.number IS NOT NULL AND l.{PUBLISHED} AND (s.id IS NULL
  OR s.feed_id <> l.feed_id OR signals_record_terms(s) IS DISTINCT FROM l.terms)
ORDER BY l.number
"""
_WITHOUT_LINK = f"""
SELECT s.id, k.kind FROM signals_signal s CROSS JOIN LATERAL (
  SELECT s.action AS kind UNION ALL SELECT 'CANCEL' WHERE s.cancelled_at IS NOT NULL) k
WHERE s.feed_id = %s AND s.published_at IS NOT NULL AND NOT EXISTS (SELECT FROM {LINKS} l
  WHERE l.signal_id = s.id AND l.feed_id = s.feed_id AND l.kind = k.kind) ORDER BY s.id
"""
_NOT_CANCELLED = f"""
SELECT l.number, l.signal_id FROM {LINKS} l JOIN signals_signal s ON s.id = l.signal_id
WHERE l.feed_id = %s AND l.kind = 'CANCEL' AND (s.cancelled_at IS NULL
  OR s.cancelled_at <> (l.terms ->> 'cancelled_at')::timestamptz) ORDER BY l.number
"""
_RIGHTS = f"""
SELECT role, relation, privilege FROM unnest(ARRAY['{WEB}', '{TRADE}']) role,
  unnest(ARRAY['{LINKS}', '{HEADS}', '{ANCHORS}']) relation,
  unnest(ARRAY['INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'TRIGGER']) privilege
WHERE has_table_privilege(role, relation, privilege)
  AND NOT (role = '{TRADE}' AND relation = '{ANCHORS}' AND privilege = 'INSERT')
"""


def verify_feed(feed_id: int, expected: Sequence[Head] = ()) -> Findings:
    """Read a snapshot of a feed's record and return what is wrong with it.

    expected: heads that were kept elsewhere. Needs all tenants' rows; opens its own transaction.
    """
    found = Findings()
    with transaction.atomic(durable=True):
        rows("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        known = [(head, GIVEN) for head in expected] + list(_anchors(found, feed_id))
        check_chain(found, _links(feed_id, 0), known, noun="link")
        _check_stored_head(found, feed_id)
        _check_times(found, feed_id)
        _check_signals(found, feed_id)
        check_results(found, feed_id)
        _check_triggers(found)
    return found


def number_of(feed_id: int, link_hash: str) -> int | None:
    """Return the number of the link that is stored with this hash; None: no link is."""
    found = rows(
        f"SELECT number FROM {LINKS} WHERE feed_id = %s AND hash = %s ORDER BY number LIMIT 1",
        (feed_id, link_hash),
    )
    return int(found[0].number) if found else None


def anchor(feed_id: int) -> Head | None:
    """Sign the feed's head if the links since the last anchor are right; else return None.

    An empty record has the empty head.
    """
    with transaction.atomic():
        last = rows(
            f"SELECT number, hash FROM {ANCHORS} WHERE feed_id = %s ORDER BY id DESC LIMIT 1",
            (feed_id,),
        )
        before = Head(last[0].number, last[0].hash) if last else EMPTY
        found = Findings(head=before)
        if before.number and not rows(
            f"SELECT FROM {LINKS} WHERE feed_id = %s AND number = %s AND hash = %s",
            (feed_id, *before),
        ):
            return None
        check_chain(found, _links(feed_id, before.number), [], noun="link")
        if found.wrong:
            return None
        if found.head != before:
            run(
                f"INSERT INTO {ANCHORS} (feed_id, at, number, hash, signature)"
                " VALUES (%s, clock_timestamp(), %s, %s, %s)",
                (feed_id, *found.head, signature_of(feed_id, found.head)),
            )
        return found.head


def signature_of(feed_id: int, head: Head) -> str:
    """Return this installation's signature of a feed's head."""
    return sign(_text(feed_id, head), salt=SALT)


def is_own_signature(feed_id: int, head: Head, signature: str) -> bool:
    """Return whether this installation has signed this head of this feed."""
    return is_signed(_text(feed_id, head), signature, salt=SALT)


def store_status(feed_id: int, found: Findings) -> bool:
    """Store the result of a full check; return whether the record was found broken only now.

    Heads that were given and do not match may be mistyped, so they are not stored.
    """
    findings = "\n".join(found.wrong[:5])
    with transaction.atomic():
        known = RecordStatus.objects.select_for_update().filter(pk=feed_id).first()
        run(
            "INSERT INTO signals_recordstatus (feed_id, verified_at, number, findings)"
            " VALUES (%s, clock_timestamp(), %s, %s) ON CONFLICT (feed_id) DO UPDATE SET"
            " (verified_at, number, findings)"
            " = (excluded.verified_at, excluded.number, excluded.findings)",
            (feed_id, found.head.number, findings),
        )
    return bool(findings) and (known is None or not known.findings)


def _text(feed_id: int, head: Head) -> str:
    return f"{feed_id}:{head.text}"


def _links(feed_id: int, after: int) -> Iterator[Any]:
    while batch := rows(_CHAIN, (feed_id, after, _BATCH)):
        yield from batch
        after = batch[-1].number


def _anchors(found: Findings, feed_id: int) -> Iterator[tuple[Head, str]]:
    highest = 0
    stored = f"SELECT at, number, hash, signature FROM {ANCHORS} WHERE feed_id = %s ORDER BY id"
    for row in rows(stored, (feed_id,)):
        found.checkpoints += 1
        head, name = Head(row.number, row.hash), f"The anchor of {row.at:%Y-%m-%d %H:%M:%S}"
        if not is_own_signature(feed_id, head, row.signature):
            found.add(
                f"{name} (link {row.number}) is not signed with this installation's"
                " FILLCAST_SECRET_KEY: it was changed, or the key was."
            )
        if row.number <= highest:
            found.add(f"{name} comes after one of a later link: the record was shortened.")
        highest = max(highest, row.number)
        yield head, name


def _check_stored_head(found: Findings, feed_id: int) -> None:
    for link in rows(
        f"SELECT id, signal_id FROM {LINKS} WHERE feed_id = %s AND number IS NULL ORDER BY id",
        (feed_id,),
    ):
        found.add(
            f"The link with id {link.id} (S-{link.signal_id}) has no number: it was written while"
            " the triggers were off."
        )
    stored = rows(f"SELECT links, hash FROM {HEADS} WHERE feed_id = %s", (feed_id,))
    if stored:
        check_head(found, Head(stored[0].links, stored[0].hash), noun="link")
    elif found.lines:
        found.add("The head was removed. Only anchors show if the last links are missing.")


def _check_times(found: Findings, feed_id: int) -> None:
    is_real = market_clock() is None  # a replay's signals are of another time
    parameters = {"feed": feed_id, "limit": BACK_DATED, "is_real": is_real}
    for link in rows(_TIMES, parameters):
        name = f"Link {link.number} (S-{link.signal_id})"
        if link.last_sealed and link.last_sealed > link.sealed_at:
            found.add(f"{name} states that it was sealed before the link before it.")
        elif link.last_published and link.last_published > link.published + BACK_DATED:
            found.add(
                f"{name} is back-dated: it states {link.published:%Y-%m-%d %H:%M:%S} as its"
                f" publication, and an earlier link {link.last_published:%Y-%m-%d %H:%M:%S}."
            )
        else:
            found.add(
                f"{name} is back-dated: it states {link.published:%Y-%m-%d %H:%M:%S} as its"
                f" publication, and was sealed at {link.sealed_at:%Y-%m-%d %H:%M:%S}."
            )


def _check_signals(found: Findings, feed_id: int) -> None:
    for row in rows(_CHANGED, (feed_id,)):
        name = f"S-{row.signal_id} of link {row.number}"
        if row.is_gone:
            found.add(f"{name} was removed.")
        elif row.is_moved:
            found.add(f"{name} was moved to another feed.")
        else:
            both = sorted({**row.terms, **row.now})
            fields = [field for field in both if row.terms.get(field) != row.now.get(field)]
            found.add(f"{name} was changed since: {', '.join(fields)}.")
    for row in rows(_WITHOUT_LINK, (feed_id,)):
        act = "cancelled" if row.kind == "CANCEL" else "published"
        found.add(f"S-{row.id} is {act} and has no link: it was while the triggers were off.")
    for row in rows(_NOT_CANCELLED, (feed_id,)):
        found.add(f"The cancellation of S-{row.signal_id} in link {row.number} was changed since.")


def _check_triggers(found: Findings) -> None:
    active = {
        (row.relation, row.name)
        for row in rows(
            "SELECT tgrelid::regclass::text AS relation, tgname AS name FROM pg_trigger"
            " WHERE tgenabled IN ('O', 'A')"
        )
    }
    needed = [("signals_signal", name) for name in TRIGGERS] + [(LINKS, "record_seal")]
    needed += [(table, "fillcast_guard") for table in (LINKS, HEADS, ANCHORS)]
    for table, name in needed:
        if (table, name) not in active:
            found.add(f"The trigger {name} of {table} is missing or switched off.")
    bodies = {
        row.proname: row.prosrc
        for row in rows("SELECT proname, prosrc FROM pg_proc WHERE proname LIKE 'signals%record%'")
    }
    for name, sql in {**FUNCTIONS, **RESULT_FUNCTIONS}.items():
        if bodies.get(name) != sql.split("$body$")[1]:
            found.add(f"The function {name} is not the one of this version.")
    for right in rows(_RIGHTS):
        found.add(f"{right.role} may {right.privilege} in {right.relation}; it may only read.")
