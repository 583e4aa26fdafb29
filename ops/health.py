"""`python -m ops.health web|lease|beat|alive`: a container's health check; exit code 0 if well.

With `live` it states whether the process is to be restarted: not because the database is away,
since a worker keeps outcomes in memory until that is back. It runs every 30 seconds beside each
process, so it imports no Django: a query or a request.
"""

import os
import socket
import sys
import time
import urllib.request
from collections.abc import Callable, Mapping, MutableMapping
from pathlib import Path

import psycopg

from common.process.readiness import ALIVE
from config.env_parts import Listen, read_listen
from config.secret_files import read_secret_files
from execution.lease_sql import LIVE_OF_HOST

SILENT_SECONDS = 180  # a bus that is misconfigured is tried again each minute
SECONDS = 8  # below the health check's own time-out
BEAT_SQL = """
SELECT count(*) FROM django_celery_beat_periodictask
WHERE enabled AND last_run_at > clock_timestamp() - interval '90 s'"""


def web(environ: Mapping[str, str], path: str = "/readyz") -> bool:
    """Whether the web process answers and its servers are there; /healthz: whether it answers."""
    given = environ.get("FILLCAST_LISTEN", "").strip()
    port = read_listen(given).port if given else Listen().port
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}")
    with urllib.request.urlopen(request, timeout=SECONDS) as answer:
        return bool(answer.status == 200)


def lease(environ: Mapping[str, str]) -> bool:
    """Whether a trading process of this container holds its lease: otherwise it sends nothing."""
    return _count(environ, LIVE_OF_HOST, (socket.gethostname()[:100],)) > 0


def beat(environ: Mapping[str, str]) -> bool:
    """Whether beat has started a job within the last 90 seconds; most are due every second."""
    return _count(environ, BEAT_SQL, ()) > 0


def alive(environ: Mapping[str, str]) -> bool:
    """Whether a process of buses has taken a step recently and states no trouble."""
    trouble = Path(environ[ALIVE]).read_text()
    if trouble:
        print(f"alive: {trouble}")
    return not trouble and goes_on(environ)


def goes_on(environ: Mapping[str, str]) -> bool:
    """Whether a process of buses has taken a step recently; it has no lease of its own."""
    return time.time() - Path(environ[ALIVE]).stat().st_mtime < SILENT_SECONDS


CHECKS: dict[str, Callable[[Mapping[str, str]], bool]] = {
    "web": web,
    "lease": lease,
    "beat": beat,
    "alive": alive,
}


def _lives(check: Callable[[Mapping[str, str]], bool], environ: Mapping[str, str]) -> bool:
    if check is web:
        return web(environ, "/healthz")
    if check is alive:
        return goes_on(environ)
    try:
        return check(environ)
    except psycopg.OperationalError:
        return True


def _count(environ: Mapping[str, str], query: str, parameters: tuple[str, ...]) -> int:
    with psycopg.connect(
        environ["DATABASE_URL"], connect_timeout=SECONDS, autocommit=True
    ) as connection:
        row = connection.execute(query, parameters).fetchone()
        return int(row[0]) if row else 0


def main(arguments: list[str], environ: MutableMapping[str, str] = os.environ) -> int:
    """Run the check; print why it failed."""
    try:
        read_secret_files(environ)
        check = CHECKS[arguments[0]]
        is_well = _lives(check, environ) if arguments[1:] == ["live"] else check(environ)
    except Exception as error:  # any: Docker shows what is printed
        print(f"{arguments[0]}: {type(error).__name__}: {error}")
        return 1
    if not is_well:
        print(f"{arguments[0]}: not alive")
    return 0 if is_well else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
