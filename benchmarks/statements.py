"""What statements cost a PostgreSQL server, where it has the extension `pg_stat_statements`."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

TOP = 25
READ = """
SELECT queryid, left(regexp_replace(query, '\\s+', ' ', 'g'), 100), calls, rows,
  1000 * (total_exec_time + total_plan_time), wal_bytes::float8
FROM pg_stat_statements s JOIN pg_database d ON d.oid = s.dbid
WHERE d.datname = current_database() AND queryid IS NOT NULL AND toplevel
"""
EXTENSION = "CREATE EXTENSION IF NOT EXISTS pg_stat_statements"
IS_LOADED = "SELECT current_setting('shared_preload_libraries') LIKE '%pg_stat_statements%'"
Sql = Callable[..., list[tuple[Any, ...]]]


class StatementMeter:
    """Time and WAL of each statement per item, over several rounds; nothing on other servers."""

    def __init__(self, sql: Sql) -> None:
        """sql: runs a statement as a superuser."""
        self._sql = sql
        self._items = 0
        self._spent: dict[tuple[int, str], list[float]] = {}
        self.is_available = bool(sql(IS_LOADED)[0][0])
        if self.is_available:
            sql(EXTENSION)

    @contextlib.contextmanager
    def over(self, items: int) -> Iterator[None]:
        """Count what runs inside for this number of items."""
        before = self._read()
        yield
        for key, figures in self._read().items():
            earlier = before.get(key, [0.0] * len(figures))
            spent = self._spent.setdefault(key, [0.0] * len(figures))
            for column, figure in enumerate(figures):
                spent[column] += figure - earlier[column]
        self._items += items

    def top(self) -> list[dict[str, Any]]:
        """Return the most expensive statements: microseconds and bytes of WAL an item, calls."""
        ordered = sorted(self._spent.items(), key=lambda item: -item[1][2])[:TOP]
        return [
            {
                "statement": text,
                "calls": calls,
                "rows": rows,
                "us_an_item": microseconds / max(self._items, 1),
                "wal_bytes_an_item": wal / max(self._items, 1),
            }
            for (_, text), (calls, rows, microseconds, wal) in ordered
            if calls
        ]

    def _read(self) -> dict[tuple[int, str], list[float]]:
        if not self.is_available:
            return {}
        found: dict[tuple[int, str], list[float]] = {}
        for query, text, *figures in self._sql(READ):
            spent = found.setdefault((query, text), [0.0] * len(figures))
            for column, figure in enumerate(figures):
                spent[column] += float(figure)  # one row for each role
        return found
