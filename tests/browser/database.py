"""The demo's PostgreSQL, for what no person can do: ten thousand trades, and an interruption."""

import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg

COPIES = """
INSERT INTO positions_executionposition ({columns}, entry_leg)
SELECT {values}, 'c' || n FROM (
  SELECT p.* FROM positions_executionposition p
  JOIN connections_executionconnection c ON c.id = p.connection_id
  JOIN users_user u ON u.id = c.user_id
  WHERE u.username = %(owner)s AND p.closed_at IS NOT NULL ORDER BY p.id LIMIT 1
) one, generate_series(1, %(count)s) n
ON CONFLICT DO NOTHING
"""


class DemoDatabase:
    """The database of a running demo."""

    def __init__(self, folder: Path) -> None:
        running = json.loads((folder / "running.json").read_text())
        self._url: str = running["DATABASE_URL"]
        self._name = urlsplit(self._url).path.strip("/")

    def copy_closed_trades(self, owner: str, count: int) -> None:
        """Give a tenant this many copies of a closed trade, a second apart."""
        with psycopg.connect(self._url, autocommit=True) as connection:
            found = connection.execute(
                "SELECT column_name FROM information_schema.columns"
                " WHERE table_name = 'positions_executionposition'"
                " AND column_name NOT IN ('id', 'entry_leg')"
            ).fetchall()
            names = [str(name) for (name,) in found]
            values = [
                "closed_at - n * interval '1 second'" if name == "closed_at" else name
                for name in names
            ]
            query = COPIES.format(columns=", ".join(names), values=", ".join(values))
            connection.execute(query.encode(), {"owner": owner, "count": count})

    def stop(self) -> None:
        """End all its sessions and refuse new ones, as while it restarts.

        Its process goes on: the demo ends with the server that it has started itself.
        """
        self._allow_connections("false")
        with self._maintenance() as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s",
                [self._name],
            )

    def start(self) -> None:
        """Accept sessions again."""
        self._allow_connections("true")

    def _allow_connections(self, word: str) -> None:
        with self._maintenance() as connection:
            connection.execute(f"ALTER DATABASE {self._name} ALLOW_CONNECTIONS {word}".encode())

    def _maintenance(self) -> psycopg.Connection[Any]:
        return psycopg.connect(self._url, dbname="postgres", autocommit=True)
