"""The advisory locks of a transaction: which ones it holds, and whether it waits for others."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import psycopg
from django.db import OperationalError, connection, transaction

from common.db.sql import rows, run

Key = tuple[int, int, int]
"""How pg_locks names a lock: the halves of one number (…, 1), or two numbers (…, 2)."""
_HELD = """
SELECT classid::bigint, objid::bigint, objsubid::int, mode FROM pg_locks
WHERE locktype = 'advisory' AND granted AND pid = pg_backend_pid()
"""
_HALF = 2**32
MODES = {"ExclusiveLock": "exclusive", "ShareLock": "shared"}


class Lock(NamedTuple):
    """A lock that an act takes. name: for people; mode: `exclusive` or `shared`."""

    name: str
    key: Key
    mode: str


def by_text(text: str, mode: str = "exclusive", *, seed: int = 0) -> Lock:
    """Return the lock on a text of 64 bits."""
    return Lock(text, _of_one(rows("SELECT hashtextextended(%s, %s) AS n", (text, seed))), mode)


def by_short_text(text: str, second: int | None = None) -> Lock:
    """Return the exclusive lock on a text of 32 bits, alone or before a second number."""
    found = rows("SELECT hashtext(%s) AS n", (text,))
    if second is None:
        return Lock(text, _of_one(found), "exclusive")
    return by_numbers(f"{text} {second}", found[0].n, second)


def by_numbers(name: str, first: int, second: int, mode: str = "exclusive") -> Lock:
    """Return the lock on two numbers."""
    return Lock(name, (first % _HALF, second % _HALF, 2), mode)


def _of_one(found: list[Any]) -> Key:
    number = found[0].n % _HALF**2
    return number // _HALF, number % _HALF, 1


def held() -> set[tuple[Key, str]]:
    """Return the advisory locks of this session, each with its mode."""
    return {((row.classid, row.objid, row.objsubid), MODES[row.mode]) for row in rows(_HELD)}


def taken_by(act: Callable[[], object]) -> set[tuple[Key, str]]:
    """Return the locks that an act has taken and holds after it, and undo it."""
    before, savepoint = held(), transaction.savepoint()
    try:
        act()
        return held() - before
    finally:
        transaction.savepoint_rollback(savepoint)


@contextmanager
def held_elsewhere(lock: Lock, mode: str) -> Iterator[None]:
    """Hold a lock in another session for as long as the block lasts."""
    first, second, count = lock.key
    numbers = [_signed(first, 32), _signed(second, 32)]
    values = [_signed(first * _HALF + second, 64)] if count == 1 else numbers
    of = "bigint" if count == 1 else "int"
    marks = ", ".join(f"%s::{of}" for _ in values)
    name = "pg_advisory_lock" + ("_shared" if mode == "shared" else "")
    arguments = connection.get_connection_params()
    wanted = {name: arguments[name] for name in ("dbname", "user", "password", "host", "port")
              if name in arguments}  # fmt: skip
    with psycopg.connect(**wanted, autocommit=True) as other:
        other.execute("SET lock_timeout = '5s'")  # the test's own session must not hold it
        other.execute(f"SELECT {name}({marks})", values)
        yield


def _signed(number: int, bits: int) -> int:
    return number - 2**bits if number >= 2 ** (bits - 1) else number


def waits(act: Callable[[], object]) -> bool:
    """Return whether an act waits for a lock that another session holds; undo it."""
    savepoint = transaction.savepoint()
    try:
        run("SET LOCAL lock_timeout = '1ms'")  # nothing else is locked by anyone
        act()
    except OperationalError as error:
        if "lock timeout" not in str(error):
            raise
        return True
    finally:
        transaction.savepoint_rollback(savepoint)
        run("SET LOCAL lock_timeout = 0")
    return False
