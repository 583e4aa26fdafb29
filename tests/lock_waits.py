"""Which other sessions of the test's database wait for a lock."""

from django.db import connection

from tests.until import until

_WAITING = """
SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
  AND wait_event_type = 'Lock' AND pid <> pg_backend_pid()
  AND wait_event LIKE %s AND application_name LIKE %s
"""


def sessions_waiting(*, lock: str = "%", program: str = "%") -> int:
    """Return how many other sessions wait for a lock.

    lock: only for one of this type (`advisory`). program: only those of this program.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_clear_snapshot()")  # within a transaction, it is kept
        cursor.execute(_WAITING, [lock, program])
        return int(cursor.fetchone()[0])


def until_one_waits(*, lock: str = "%") -> None:
    """Return once one other session waits for a lock."""
    until(lambda: sessions_waiting(lock=lock) == 1, "no session waits for the lock")
