"""Print which database and Redis a process uses, so that it never uses the wrong ones unnoticed."""

import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from config.databases import login
from config.env import Settings

PRINTED = "_FILLCAST_DATABASE_SHOWN"  # set for children of a process that has printed them
_has_printed = False  # in this process, or before it was forked

UNREADABLE = "at an address that cannot be read; write / ? # @ in a password as %2F %3F %23 %40"
_HOSTS = re.compile(r"(((\[[0-9a-fA-F:.]+\]|[\w.-]+)(:[0-9]+)?)(,(?!$)|$))*")


def embedded_sentence(folder: Path, state: str) -> str:
    """Return the sentence for the embedded database of an installation's folder."""
    return f"Database: embedded, in {_short(folder)} ({state})."


def database_sentence(url: str, setting: str = "DATABASE_URL") -> str:
    """Return the sentence for the database that a setting names, without its password."""
    parts = urlsplit(url)
    if (host := _host(parts, 5432)) is None:
        return f"Database: {UNREADABLE} ({setting})."
    return f"Database: {parts.path.lstrip('/') or 'the default one'} at {host} ({setting})."


def process_database(settings: Settings) -> str:
    """Return the sentence for the database that this process's settings name."""
    variable, url = login(settings)
    return database_sentence(url, variable)


def redis_sentence(url: str) -> str:
    """Return the sentence for the Redis that REDIS_URL names, without its password."""
    parts = urlsplit(url)
    if (host := _host(parts, 6379)) is None:
        return f"Redis: {UNREADABLE} (REDIS_URL)."
    return f"Redis: database {parts.path.strip('/') or '0'} at {host} (REDIS_URL)."


def queue_sentences(url: str) -> list[str]:
    """Return the sentence for the RabbitMQ that FILLCAST_QUEUE_URL names, if it names one."""
    if not url:
        return []
    host = _host(urlsplit(url), 5672)
    return [f"Queues: RabbitMQ at {host} (FILLCAST_QUEUE_URL)."]


def print_once(*sentences: str, environ: Mapping[str, str] = os.environ) -> None:
    """Print sentences to standard error, once for a process and the processes that it starts."""
    global _has_printed
    if not _has_printed and not environ.get(PRINTED):
        print(*sentences, sep="\n", file=sys.stderr, flush=True)
    _has_printed = True


def print_servers(environ: Mapping[str, str] = os.environ) -> None:
    """Print which database and Redis a worker, beat or web process uses."""
    settings = Settings.read(environ)
    redis = redis_sentence(settings.redis_url or "")
    queues = queue_sentences(settings.queue_url or "")
    print_once(process_database(settings), redis, *queues, environ=environ)


def _host(parts: SplitResult, port: int) -> str | None:
    """Return host and port of one or more servers; port: the default one.

    None if the URL cannot be read, for instance if a password contains an unescaped / ? or #.
    """
    hosts = parts.netloc.rpartition("@")[2]
    if "@" in parts.path + parts.query + parts.fragment or not _HOSTS.fullmatch(hosts):
        return None
    if not hosts:
        return "a socket"
    return hosts if hosts.rpartition("]")[2].count(":") else f"{hosts}:{port}"


def _short(folder: Path) -> str:
    try:
        return str(folder.resolve().relative_to(Path.cwd().resolve()))
    except ValueError:
        return str(folder)
