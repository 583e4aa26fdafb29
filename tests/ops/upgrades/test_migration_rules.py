"""Migrations made since the release: what the released code does not survive is refused."""

from typing import Any

import pytest
from django.contrib.postgres.operations import AddConstraintNotValid, ValidateConstraint
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connection, migrations, models, transaction
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.state import ProjectState

from common.db.index_migrations import BuildIndex
from execution.models import DroppedMessageCount, Order
from ops.upgrades import check
from ops.upgrades.released import Released, later_than, read_released

SHORT: Any = models.CharField(max_length=8)
FILLED: Any = models.CharField(max_length=8, db_default="")
POSITIVE = models.CheckConstraint(condition=models.Q(quantity__gt=0), name="positive")
OF_NEW = models.CheckConstraint(condition=models.Q(shade__gt=0), name="of_new")
INDEX = models.Index(fields=["quantity"], name="of_quantity")
UNIQUE = models.UniqueConstraint(fields=["quantity"], name="one_quantity")


@pytest.fixture(scope="module")
def released() -> Released:
    return read_released(MigrationLoader(None))


def lines(released: Released, *operations: Any, accept: dict[str, str] | None = None) -> list[str]:
    """Return the faults of a migration of `execution` with these operations."""
    migration = migrations.Migration("9999_new", "execution")
    vars(migration).update({"operations": list(operations), check.ACCEPTS: accept or {}})
    return check.migration_faults(migration, released.state.clone(), released)


def in_models_only(*operations: Any) -> migrations.SeparateDatabaseAndState:
    return migrations.SeparateDatabaseAndState(state_operations=list(operations))


BREAKING = {
    "a column that INSERTs do not name": migrations.AddField("order", "shade", SHORT),
    "its default is Django's only": migrations.AddField(
        "order", "shade", models.CharField(max_length=8, default="red")
    ),
    "a column is dropped": migrations.RemoveField("order", "reason"),
    "a column is renamed": migrations.RenameField("order", "reason", "why"),
    "a table is dropped": migrations.DeleteModel("fill"),
    "a table is renamed": migrations.RenameModel("fill", "execution"),
    "its table is": migrations.AlterModelTable("fill", "fills"),
    "longer texts are refused": migrations.AlterField(
        "order", "reason", models.CharField(max_length=2, db_default="")
    ),
    "a database default goes": migrations.AlterField(
        "order", "reason", models.CharField(max_length=64)
    ),
    "the new code does not fill it": in_models_only(migrations.RemoveField("order", "leg")),
    "SQL drops a column": migrations.RunSQL("alter table execution_order drop column reason"),
    "SQL drops it with others": migrations.RunSQL(
        "ALTER TABLE execution_order\n ADD COLUMN x int, -- and\n DROP COLUMN IF EXISTS reason;"
    ),
    "SQL drops a table": migrations.RunSQL([("DROP TABLE execution_fill", [])]),
    "SQL renames a column": migrations.RunSQL("ALTER TABLE execution_order RENAME reason TO why"),
    "SQL adds a column that INSERTs do not name": migrations.RunSQL(
        "ALTER TABLE execution_order ADD COLUMN shade text NOT NULL"
    ),
}
HARMFUL = {
    "writers wait for an index": migrations.AddIndex("order", INDEX),
    "or for a reference's": migrations.AddField(
        "order", "other", models.ForeignKey("users.User", models.PROTECT, null=True)
    ),
    "or for a default of each row": migrations.AddField(
        "order", "shade", models.UUIDField(db_default=models.Func(function="gen_random_uuid"))
    ),
    "or for a constraint": migrations.AddConstraint("order", POSITIVE),
    "or for a unique one": migrations.AddConstraint("order", UNIQUE),
    "rows are refused": AddConstraintNotValid("order", POSITIVE),
    "or NULL is": migrations.AlterField(
        "order", "client_order_id", models.CharField(max_length=18)
    ),
    "a type changes": migrations.AlterField(
        "order", "quantity", models.DecimalField(max_digits=20, decimal_places=2, null=True)
    ),
    "ON CONFLICT names it": migrations.RemoveConstraint("order", "one_entry"),
    "code changes rows": migrations.RunPython(migrations.RunPython.noop),
    "SQL changes rows": migrations.RunSQL("UPDATE execution_order SET reason = 'x'"),
    "SQL builds an index": migrations.RunSQL("CREATE UNIQUE INDEX i ON execution_order (id)"),
    "SQL locks": migrations.RunSQL("LOCK TABLE execution_order"),
    "SQL drops a function": migrations.RunSQL("DROP FUNCTION public.backlog()"),
    "SQL takes a right": migrations.RunSQL("REVOKE SELECT ON execution_order FROM fillcast_web"),
    "SQL adds a constraint": migrations.RunSQL(
        "ALTER TABLE execution_order ADD CONSTRAINT c CHECK (id > 0)"
    ),
    "a block may do anything": migrations.RunSQL("DO $x$ BEGIN DROP TABLE execution_fill; END $x$"),
    "an operation is unknown": migrations.AlterUniqueTogether("order", {("leg",)}),
}
HARMLESS = {
    "a column that may be NULL": migrations.AddField(
        "order", "shade", models.CharField(max_length=8, null=True)
    ),
    "or that the database fills": migrations.AddField("order", "shade", FILLED),
    "an index beside writers": BuildIndex("order", INDEX),
    "longer texts": migrations.AlterField(
        "order", "reason", models.CharField(max_length=99, db_default="")
    ),
    "a constraint of old rows": ValidateConstraint("order", "positive"),
    "SQL of functions": migrations.RunSQL(
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS $$ DELETE FROM execution_order; $$;"
        " REVOKE ALL ON FUNCTION f FROM PUBLIC"
    ),
    "SQL in a comment": migrations.RunSQL("SELECT 1 -- DROP TABLE execution_fill\n"),
    "SQL of a new table": migrations.RunSQL(
        "CREATE TABLE x (a int); CREATE INDEX i ON x (a); ALTER TABLE x ENABLE ROW LEVEL SECURITY"
    ),
    "SQL beside writers": migrations.RunSQL(
        "CREATE INDEX CONCURRENTLY i ON execution_order (id); ALTER TABLE execution_order ADD"
        " COLUMN x text NOT NULL DEFAULT '', ADD CONSTRAINT c CHECK (x <> 'b') NOT VALID"
    ),
    "only the models lose what is filled": in_models_only(
        migrations.RemoveField("order", "reason")
    ),
}


@pytest.mark.parametrize("case", BREAKING)
def test_breaking_operation_is_refused_with_any_reason(released: Released, case: str) -> None:
    (line,) = lines(released, BREAKING[case])
    key = line.split(": ")[1]
    assert line in lines(released, BREAKING[case], accept={key: "I want it"})


@pytest.mark.parametrize("case", HARMFUL)
def test_harmful_operation_needs_a_reason(released: Released, case: str) -> None:
    (line,) = lines(released, HARMFUL[case])
    key = line.split(": ")[1]
    assert lines(released, HARMFUL[case], accept={key: "a small table"}) == []
    assert lines(released, HARMFUL[case], accept={key: " "}) == [line]


@pytest.mark.parametrize("case", HARMLESS)
def test_harmless_operation_needs_no_reason(released: Released, case: str) -> None:
    assert lines(released, HARMLESS[case]) == []


def test_transaction_that_locks_two_tables_needs_a_reason(released: Released) -> None:
    """The released code locks them in another order: one of both would be ended as a deadlock."""
    added = [migrations.AddField(model, "shade", FILLED) for model in ("order", "fill", "order")]
    (line,) = lines(released, *added)
    assert line.startswith("execution.9999_new: atomic fill order: ")
    assert lines(released, *added, accept={"atomic fill order": "fills are few"}) == []
    assert lines(released, *added[::2]) == []
    known = released.state.models["execution", "order"].fields["side"].clone()
    known.choices = [("BUY", "Buy it")]  # no database knows them
    assert lines(released, added[1], migrations.AlterField("order", "side", known)) == []


def test_new_column_and_its_constraint_are_free(released: Released) -> None:
    added = migrations.AddField("order", "shade", models.SmallIntegerField(null=True))
    assert lines(released, added, AddConstraintNotValid("order", OF_NEW)) == []


def test_what_no_release_has_may_be_dropped_at_once(released: Released) -> None:
    fields = [("id", models.BigAutoField(primary_key=True)), ("name", SHORT)]
    made = migrations.CreateModel("Draft", fields)
    changes = (
        migrations.AddField("draft", "shade", SHORT),
        migrations.RenameField("draft", "shade", "tone"),
        migrations.RemoveField("draft", "name"),
        migrations.RunSQL("ALTER TABLE execution_draft DROP COLUMN tone"),
        migrations.DeleteModel("draft"),
    )
    assert lines(released, made, *changes) == []


def test_column_is_dropped_a_release_after_the_models_lost_it(released: Released) -> None:
    """The two steps that the rules ask for, a release apart."""
    dropped = migrations.RunSQL("ALTER TABLE execution_order DROP COLUMN reason")
    assert (
        len(lines(released, in_models_only(migrations.RemoveField("order", "reason")), dropped))
        == 1
    )
    state = released.state.clone()
    migrations.RemoveField("order", "reason").state_forwards("execution", state)
    assert lines(Released(released.migrations, state), dropped) == []


def test_reason_that_accepts_nothing_is_refused(released: Released) -> None:
    (line,) = lines(released, HARMLESS["longer texts"], accept={"AddIndex old": "was small"})
    assert "AddIndex old: is accepted, but no fault" in line


def test_migrations_of_this_checkout_are_accepted() -> None:
    call_command("check_migrations")


def test_command_names_the_migration_and_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "ops.management.commands.check_migrations.find_faults", lambda *_: ["execution.0099: x"]
    )
    with pytest.raises(CommandError, match=r"execution\.0099: x(.|\n)*safe_beside_released_code"):
        call_command("check_migrations")


def test_release_names_only_migrations_that_exist(released: Released) -> None:
    loader = MigrationLoader(None)
    names = {
        node for leaf in released.migrations.items() for node in loader.graph.forwards_plan(leaf)
    }
    assert not names & set(later_than(released, loader))
    assert isinstance(released.state, ProjectState)
    assert {"id", "reason", "leg"} <= released.columns[Order._meta.db_table]


@pytest.mark.django_db
def test_database_refuses_the_insert_that_the_rule_foresees() -> None:
    """Django's `default` leaves the database without one: an INSERT of the old code fails."""
    field: Any = models.CharField(max_length=8, default="red")
    field.set_attributes_from_name("shade")
    with transaction.atomic(), connection.schema_editor(atomic=False) as editor:
        editor.add_field(DroppedMessageCount, field)
        with pytest.raises(IntegrityError, match='"shade"'), transaction.atomic():
            DroppedMessageCount.objects.create(name="old code")
        transaction.set_rollback(True)
