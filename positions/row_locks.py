"""Locks on the rows of positions, always in id order, so that there is no deadlock.

Every transaction that changes several positions locks them first. What it then reads, it reads by a
later statement, which sees what the previous holder of the lock has committed. The locks are
released when the caller's transaction ends.
"""

from collections.abc import Iterable, Sequence

from common.db.sql import IdRow, Query, rows


def lock_positions_sql(ids: str) -> str:
    """Return the statement that locks, in id order, the positions of a subquery and returns ids."""
    return (
        f"SELECT id FROM positions_executionposition WHERE id IN ({ids})\n"
        "ORDER BY id FOR NO KEY UPDATE"
    )


def lock_unlocked_sql(ids: str) -> str:
    """Return the statement that locks, of an array of ids, the positions that no other session has
    locked, and returns their ids."""
    return (
        f"SELECT id FROM positions_executionposition WHERE id = ANY({ids})\n"
        "ORDER BY id FOR NO KEY UPDATE SKIP LOCKED"
    )


LOCK_BY_ID = Query(
    IdRow,
    "SELECT id FROM positions_executionposition WHERE id = ANY(%s) ORDER BY id FOR NO KEY UPDATE",
)

LOCK_UNLOCKED = Query(IdRow, lock_unlocked_sql("%s"))

LOCK_WITH_FREE_QUANTITY = """
SELECT id FROM positions_executionposition WHERE id = ANY(%s) AND quantity > reserved
ORDER BY id FOR NO KEY UPDATE {skip}
"""


def lock_positions(position_ids: Sequence[int]) -> None:
    """Lock these positions in id order."""
    if position_ids:
        rows(LOCK_BY_ID, (list(position_ids),), planned_once=True)


def lock_unlocked(position_ids: Sequence[int]) -> list[int]:
    """Lock those of these positions that no other session has locked; return their ids."""
    return [row.id for row in rows(LOCK_UNLOCKED, (list(position_ids),))] if position_ids else []


def lock_with_free_quantity(position_ids: Iterable[int], *, skip_locked: bool = False) -> list[int]:
    """Lock those of the positions of which a quantity is open and not reserved; return their ids.

    skip_locked: leave out positions that another session has locked.
    """
    skip = "SKIP LOCKED" if skip_locked else ""
    statement = Query(IdRow, LOCK_WITH_FREE_QUANTITY.format(skip=skip))
    return [row.id for row in rows(statement, (sorted(position_ids),), planned_once=True)]
