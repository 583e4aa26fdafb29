"""Whether `migrate` has anything to do: it takes seconds, and at most starts it has not.

After each complete run a comment on Django's table of migrations names the code that ran and the
migrations that are applied. Where both are the same, another run would change nothing: neither
tables nor what it creates after each run (permissions, content types).
"""

import hashlib
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psycopg
from psycopg.sql import SQL, Literal

from config.installation import ROOT

_COMMENT = "SELECT obj_description('django_migrations'::regclass)"
_APPLIED = "SELECT app, name FROM django_migrations ORDER BY app, name"
_SECONDS = 5


def is_current(url: str) -> bool:
    """Return whether the last complete `migrate` was this code's. False also on any error."""
    try:
        with psycopg.connect(url, connect_timeout=_SECONDS) as database:
            found = database.execute(_COMMENT).fetchone()
            return found is not None and found[0] == _state(database)
    except psycopg.Error:  # `migrate` reports it, or creates what is missing
        return False


def note_current(url: str) -> None:
    """Store that `migrate` has just run to its end.

    Without the right to do so, it runs again at the next start.
    """
    with suppress(psycopg.Error), psycopg.connect(url, connect_timeout=_SECONDS) as database:
        comment = SQL("COMMENT ON TABLE django_migrations IS {}")
        database.execute(comment.format(Literal(_state(database))))


def _state(database: psycopg.Connection[tuple[str, str]]) -> str:
    applied = hashlib.sha256(repr(database.execute(_APPLIED).fetchall()).encode())
    return f"migrated by {code_digest()}, applied {applied.hexdigest()[:16]}"


def code_digest(root: Path = ROOT) -> str:
    """Return a digest of all that decides what `migrate` does: our code and packages."""
    digest = hashlib.sha256(sys.version.encode())
    for name, content in _code(root):
        digest.update(f"{name}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()[:16]


def _code(root: Path) -> Iterator[tuple[str, bytes]]:
    """Yield our files by name with their content, then the versions of installed packages."""
    packages = sorted(path.parent for path in root.glob("*/__init__.py"))
    for package in packages:
        if package.name != "tests":
            for path in sorted(package.rglob("*")):
                if path.suffix in (".py", ".sql"):
                    yield str(path.relative_to(root)), path.read_bytes()
    for path in sorted(Path(sysconfig.get_path("purelib")).glob("*.dist-info")):
        yield path.name, b""
