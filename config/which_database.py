"""Which database a command works on, in a sentence: no command works on another one silently."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

SHOWN = "_FILLCAST_DATABASE_SHOWN"  # a process that starts others has said it for them


def embedded(folder: Path, state: str) -> str:
    """Return the sentence for the embedded database of an installation's folder."""
    return f"Database: embedded, in {_short(folder)} ({state})."


def named(url: str) -> str:
    """Return the sentence for the database that DATABASE_URL names, without its password."""
    parts = urlsplit(url)
    where = f"{parts.hostname or 'a socket'}:{parts.port or 5432}"
    return f"Database: {parts.path.lstrip('/') or 'the default one'} at {where} (DATABASE_URL)."


def show(sentence: str, environ: Mapping[str, str] = os.environ) -> None:
    """Say it on standard error, once for a command and those that it starts."""
    if not environ.get(SHOWN):
        print(sentence, file=sys.stderr, flush=True)


def _short(folder: Path) -> str:
    try:
        return str(folder.resolve().relative_to(Path.cwd().resolve()))
    except ValueError:
        return str(folder)
