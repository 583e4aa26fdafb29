"""A migration that builds an index of a large table can be run again after it was interrupted."""

from collections.abc import Iterator

import pytest
from django.db import connection, migrations, models
from django.db.migrations.state import ProjectState

from common.db.index_migrations import BuildIndex
from common.db.sql import rows, run

pytestmark = pytest.mark.django_db(transaction=True)
INDEX = models.Index(fields=["account"], name="probe_of_account")
STATE = """
SELECT i.indexrelid, i.indisvalid FROM pg_index i
WHERE i.indexrelid = to_regclass('public.probe_of_account')
"""


@pytest.fixture
def probe() -> Iterator[ProjectState]:
    """A table without an index, as migrations see it."""
    state = ProjectState()
    migrations.CreateModel(
        "Probe",
        [("id", models.BigAutoField(primary_key=True)), ("account", models.IntegerField())],
        {"db_table": "probe"},
    ).state_forwards("common", state)
    run("CREATE TABLE probe (id bigserial PRIMARY KEY, account integer NOT NULL)")
    yield state
    run("DROP TABLE probe")


def build(before: ProjectState) -> tuple[int, bool]:
    """Run the migration; return the index's id and whether it is complete."""
    operation, after = BuildIndex("probe", INDEX), before.clone()
    operation.state_forwards("common", after)
    with connection.schema_editor(atomic=False) as editor:
        operation.database_forwards("common", editor, before, after)
    ((found, is_valid),) = rows(STATE)
    return found, is_valid


def test_complete_index_is_kept(probe: ProjectState) -> None:
    """A later step of the migration may have failed."""
    first = build(probe)
    assert build(probe) == first == (first[0], True)


def test_interrupted_build_is_begun_again(probe: ProjectState) -> None:
    first, _ = build(probe)
    run("UPDATE pg_index SET indisvalid = false WHERE indexrelid = %s", [first])
    second, is_valid = build(probe)
    assert second != first
    assert is_valid
