"""Read the ids that a reader has not read yet, of one table."""

from __future__ import annotations

from datetime import datetime
from functools import cache
from typing import NamedTuple

from django.db import models

from buses.gaps import Gaps
from common.db.sql import IdRow, Query, rows


class Writer(NamedTuple):
    """A transaction that has the table open for writing."""

    transaction: str


# Every INSERT takes this lock before it takes an id, and keeps it until its transaction has ended.
WRITERS = Query(
    Writer,
    """
SELECT DISTINCT virtualtransaction AS transaction FROM pg_locks
WHERE locktype = 'relation' AND mode = 'RowExclusiveLock' AND relation = %s::regclass
  AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
""",
)


class Read(NamedTuple):
    """What one read found: the ids in order, what is known after it, whether there is more."""

    ids: list[int]
    gaps: Gaps
    is_more: bool


def newest_id(model: type[models.Model]) -> int:
    """Return the highest id that is visible; 0 in an empty table."""
    newest: int | None = model._default_manager.aggregate(newest=models.Max("pk"))["newest"]
    return newest or 0


def first_id_since(model: type[models.Model], time: str, since: datetime) -> int:
    """Return the first id whose row is not older; one above the last if all are.

    By bisection of the ids, which grow with time: the columns of times have no index.
    """
    rows_ = model._default_manager.order_by("pk")
    low, high = 0, newest_id(model) + 1  # rows up to `low` are older, those from `high` are not
    while low + 1 < high:
        middle = (low + high) // 2
        found = rows_.filter(pk__gte=middle, pk__lt=high).values_list("pk", time).first()
        if found is None or found[1] >= since:
            high = middle
        else:
            low = found[0]
    return high


def read_ids(model: type[models.Model], gaps: Gaps, limit: int) -> Read:
    """Return up to `limit` ids above the last one, and those of gaps that are visible now.

    Not in a transaction that repeats its first snapshot: each statement needs one of its own.
    """
    table = model._meta.db_table
    before = _writers(table) if gaps.seen else frozenset[str]()
    again = _ids_within(table, gaps) if gaps.seen else []
    above = model._default_manager.filter(pk__gt=gaps.last_id).order_by("pk")
    new: list[int] = list(above.values_list("pk", flat=True)[:limit])
    is_gap = bool(new) and new[-1] - gaps.last_id != len(new)
    after = _writers(table) if is_gap else frozenset[str]()
    known = gaps.after([*again, *new], writers_before=before, writers_after=after)
    return Read([*again, *new], known, len(new) == limit)


def _ids_within(table: str, gaps: Gaps) -> list[int]:
    firsts, lasts = zip(*gaps.ranges, strict=True)
    return [row.id for row in rows(_within_sql(table), (list(firsts), list(lasts)))]


@cache
def _within_sql(table: str) -> Query[IdRow]:
    return Query(
        IdRow,
        f"""SELECT t.id FROM unnest(%s::bigint[], %s::bigint[]) AS gap(first, last)
JOIN {table} t ON t.id BETWEEN gap.first AND gap.last ORDER BY t.id""",
    )


def _writers(table: str) -> frozenset[str]:
    return frozenset(row.transaction for row in rows(WRITERS, (table,)))
