"""The demo's PostgreSQL, for what no person can do: ten thousand trades, and a restart."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import psycopg

SECONDS = 60
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
        self._folder = folder / "postgres" / "data"
        running = json.loads((folder / "running.json").read_text())
        self._url: str = running["DATABASE_URL"]

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
        """Stop it as an upgrade does: its sessions end at once."""
        pid = int((self._folder / "postmaster.pid").read_text().split()[0])
        self._command = (self._folder / "postmaster.opts").read_text().strip()
        os.kill(pid, signal.SIGINT)
        end = time.monotonic() + SECONDS
        while (self._folder / "postmaster.pid").exists():
            assert time.monotonic() < end, "the database does not stop"
            time.sleep(0.1)

    def start(self) -> None:
        """Start it again as it ran before."""
        words = [word.strip('"') for word in self._command.split(" ")]
        subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        end = time.monotonic() + SECONDS
        while True:
            assert time.monotonic() < end, "the database does not start"
            try:
                psycopg.connect(self._url, connect_timeout=1).close()
            except psycopg.OperationalError:
                time.sleep(0.1)
            else:
                return
