"""`migrate` is left out at a start only if another run would change nothing."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from django.db import connection

from ops.stack import schema

pytestmark = [pytest.mark.processes, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def url() -> Iterator[str]:
    """The tests' database after a complete `migrate`."""
    ours = connection.settings_dict
    login = f"{ours['USER']}:{ours['PASSWORD']}@{ours['HOST']}:{ours['PORT']}"
    address = f"postgresql://{login}/{ours['NAME']}"
    assert not schema.is_current(address)
    schema.note_current(address)
    assert schema.is_current(address)
    yield address
    with psycopg.connect(address) as database:
        database.execute("COMMENT ON TABLE django_migrations IS NULL")


def test_unapplied_migration_is_noticed(url: str) -> None:
    with psycopg.connect(url) as database:
        row = database.execute(
            "DELETE FROM django_migrations WHERE id = (SELECT max(id) FROM django_migrations)"
            " RETURNING *"
        ).fetchone()
    assert not schema.is_current(url)
    with psycopg.connect(url) as database:
        database.execute("INSERT INTO django_migrations VALUES (%s, %s, %s, %s)", row)
    assert schema.is_current(url)


def test_other_code_is_noticed(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "code_digest", lambda: "other")
    assert not schema.is_current(url)


def test_unreachable_or_new_database_is_not_current(url: str) -> None:
    server, _, _ = url.rpartition("/")
    assert not schema.is_current(f"{server}/postgres")  # no table of migrations
    assert not schema.is_current("postgresql://localhost:1/none")
    assert not schema.is_current("postgresql://localhost/none?unknown=option")


def test_digest_follows_every_file_of_our_packages(tmp_path: Path) -> None:
    package = tmp_path / "app" / "migrations"
    package.mkdir(parents=True)
    (tmp_path / "app" / "__init__.py").touch()
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "__init__.py").touch()
    digests = [schema.code_digest(tmp_path)]
    for name in ("app/models.py", "app/migrations/0001_initial.py", "app/migrations/guards.sql"):
        (tmp_path / name).write_text("1")
        digests.append(schema.code_digest(tmp_path))
        (tmp_path / name).write_text("2")
        digests.append(schema.code_digest(tmp_path))
    assert len({*digests}) == len(digests)
    (tmp_path / "tests" / "test_app.py").write_text("1")
    (tmp_path / "app" / "page.html").write_text("1")
    assert schema.code_digest(tmp_path) == digests[-1]
