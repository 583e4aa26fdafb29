"""Rules for Django's migration operations, against the models of the last release."""

from collections.abc import Callable, Sequence
from typing import Any

from django.contrib.postgres import operations as pg
from django.db import connection, migrations, models
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState
from django.db.models.fields import NOT_PROVIDED

from ops.upgrades.faults import DROP_LATER, Fault
from ops.upgrades.released import Released
from ops.upgrades.statements import NEEDS_DEFAULT, statement_faults

Rule = Callable[[str, Any, ProjectState, Released], list[Fault]]


def operation_faults(
    app: str, operation: Operation, before: ProjectState, released: Released
) -> list[Fault]:
    """Return what is wrong with an operation. before: the state before it."""
    for kind, rule in RULES:
        if isinstance(operation, kind):
            return rule(app, operation, before, released)
    name = type(operation).__name__
    return [Fault(name, f"no rule for {name}: add one to ops/upgrades/operations.py")]


def _harmless(*_: object) -> list[Fault]:
    return []


def _key(operation: Any, *names: str) -> str:
    return " ".join([type(operation).__name__, ".".join(name.lower() for name in names)])


def _is_filled(field: Any) -> bool:
    """Whether the database fills a column that an INSERT does not name."""
    return bool(field.null) or field.db_default is not NOT_PROVIDED or field.many_to_many is True


def _add_field(app: str, op: Any, before: ProjectState, released: Released) -> list[Fault]:
    if released.model(app, op.model_name) is None or op.field.many_to_many:
        return []
    key, field = _key(op, op.model_name, op.name), op.field
    if getattr(field, "generated", False):
        return [Fault(key, "everybody waits while a generated column is computed for all rows")]
    faults = [] if _is_filled(field) else [Fault(key, NEEDS_DEFAULT, breaks=True)]
    default = field.db_default
    if hasattr(default, "resolve_expression") and not isinstance(default, models.Value):
        faults.append(Fault(key, "everybody waits while a default is computed for each row"))
    if field.unique or field.db_index:
        faults.append(Fault(key, INDEXED))
    return faults


INDEXED = "writers wait while its index is built: db_index=False, and BuildIndex in another one"


def _alter_field(app: str, op: Any, before: ProjectState, released: Released) -> list[Fault]:
    model = released.model(app, op.model_name)
    if model is None or op.name not in model.fields:
        return []
    key = _key(op, op.model_name, op.name)
    old: Any = before.models[app, op.model_name.lower()].fields[op.name]
    new: Any = op.field
    faults = []
    if old.db_column != new.db_column:
        faults.append(Fault(key, "the released code uses the column's old name", breaks=True))
    if old.null and not new.null:
        faults.append(Fault(key, "the released code may write NULL"))
    if old.db_default is not NOT_PROVIDED and not _is_filled(new):
        faults.append(Fault(key, NEEDS_DEFAULT, breaks=True))
    if (new.unique or new.db_index) and not (old.unique or old.db_index):
        faults.append(Fault(key, INDEXED))
    return faults + _type_faults(key, old, new)


def _type_faults(key: str, old: Any, new: Any) -> list[Fault]:
    if old.is_relation or new.is_relation:
        same = old.is_relation and new.is_relation and old.deconstruct()[1] == new.deconstruct()[1]
        return [] if same else [Fault(key, "a reference becomes another type")]
    types = old.db_type(connection), new.db_type(connection)
    if types[0] == types[1] or types[1] == "text":
        return []
    if all(name.startswith("varchar") for name in types):
        if (new.max_length or 10**9) >= (old.max_length or 10**9):
            return []
        return [Fault(key, "the released code writes longer texts", breaks=True)]
    return [Fault(key, f"{types[0]} becomes {types[1]}: all rows are rewritten while all wait")]


def _remove_field(app: str, op: Any, before: ProjectState, released: Released) -> list[Fault]:
    model = released.model(app, op.model_name)
    if model is None or op.name not in model.fields:
        return []
    sentence = f"the released models have it; {DROP_LATER}"
    return [Fault(_key(op, op.model_name, op.name), sentence, breaks=True)]


def _of_model(sentence: str) -> Rule:
    """Return the rule for what happens to a released model as a whole."""

    def rule(app: str, op: Any, before: ProjectState, released: Released) -> list[Fault]:
        name = getattr(op, "old_name", None) or op.name
        if released.model(app, name) is None:
            return []
        return [Fault(_key(op, name), sentence, breaks=True)]

    return rule


def _rename_field(app: str, op: Any, before: ProjectState, released: Released) -> list[Fault]:
    model = released.model(app, op.model_name)
    if model is None or op.old_name not in model.fields:
        return []
    sentence = "the released code uses the old name: add a column, write both, drop the old one"
    return [Fault(_key(op, op.model_name, op.old_name), sentence, breaks=True)]


def _index(app: str, op: Any, before: ProjectState, released: Released) -> list[Fault]:
    if released.model(app, op.model_name) is None:
        return []
    name = op.index.name if hasattr(op, "index") else op.name
    return [
        Fault(_key(op, name), "writers wait meanwhile: use BuildIndex or the …Concurrently one")
    ]


def _constraint(app: str, op: Any, before: ProjectState, released: Released) -> list[Fault]:
    if released.model(app, op.model_name) is None:
        return []
    sentence = (
        "reads all rows while writers wait, and may refuse what the released code writes: for a"
        " CHECK AddConstraintNotValid and ValidateConstraint, for a unique one a unique BuildIndex"
    )
    return [Fault(_key(op, op.constraint.name), sentence)]


def _not_valid(app: str, op: Any, before: ProjectState, released: Released) -> list[Fault]:
    model, constraint = released.model(app, op.model_name), op.constraint
    if model is None or not constraint.condition.referenced_base_fields & model.fields.keys():
        return []
    return [Fault(_key(op, constraint.name), "may refuse what the released code writes")]


def _remove_constraint(app: str, op: Any, before: ProjectState, released: Released) -> list[Fault]:
    if released.model(app, op.model_name) is None:
        return []
    constraints = before.models[app, op.model_name.lower()].options.get("constraints", [])
    if any(c.name == op.name and isinstance(c, models.CheckConstraint) for c in constraints):
        return []
    return [Fault(_key(op, op.name), "the released code may name it in ON CONFLICT")]


def _run_python(app: str, op: Any, before: ProjectState, released: Released) -> list[Fault]:
    name = getattr(op.code, "__name__", "code")
    sentence = "state why rows that the released code writes meanwhile are right afterwards"
    return [Fault(_key(op, name), sentence)]


def _run_sql(app: str, op: Any, before: ProjectState, released: Released) -> list[Fault]:
    return statement_faults(op.sql, released.columns, tables_of(before) - released.columns.keys())


def tables_of(state: ProjectState) -> frozenset[str]:
    """Return the tables of a state's models, which need not be rendered for it."""
    return frozenset(
        model.options.get("db_table") or f"{app}_{name}"
        for (app, name), model in state.models.items()
    )


def _separate(app: str, op: Any, before: ProjectState, released: Released) -> list[Fault]:
    """A column that only the models lose must be filled by the database from then on."""
    faults = []
    for inner in op.state_operations:
        if isinstance(inner, migrations.RemoveField):
            field = before.models[app, inner.model_name_lower].fields[inner.name]
            if not _is_filled(field):
                faults.append(Fault(_key(inner, inner.model_name, inner.name), NULLABLE, True))
    state = before.clone()
    return faults + sequence_faults(app, op.database_operations, state, released)


NULLABLE = (
    "the new code's INSERTs do not name the column that stays: AlterField it to null=True or a"
    " db_default in the operation before"
)


def sequence_faults(
    app: str, operations: Sequence[Operation], state: ProjectState, released: Released
) -> list[Fault]:
    """Return the faults of operations that run one after another; `state` follows them."""
    faults: list[Fault] = []
    for operation in operations:
        faults += operation_faults(app, operation, state, released)
        operation.state_forwards(app, state)
    return faults


RULES: list[tuple[type[Operation] | tuple[type[Operation], ...], Rule]] = [
    (migrations.SeparateDatabaseAndState, _separate),
    (migrations.AddField, _add_field),
    (migrations.AlterField, _alter_field),
    (migrations.RemoveField, _remove_field),
    (migrations.RenameField, _rename_field),
    (migrations.DeleteModel, _of_model(f"the released models have it; {DROP_LATER}")),
    (migrations.RenameModel, _of_model("the released code uses the table's old name")),
    (migrations.AlterModelTable, _of_model("the released code uses the table's old name")),
    ((pg.AddIndexConcurrently, pg.RemoveIndexConcurrently), _harmless),
    (pg.AddConstraintNotValid, _not_valid),
    ((migrations.AddIndex, migrations.RemoveIndex), _index),
    (migrations.AddConstraint, _constraint),
    (migrations.RemoveConstraint, _remove_constraint),
    (migrations.RunPython, _run_python),
    (migrations.RunSQL, _run_sql),
    (
        (
            migrations.CreateModel, migrations.AlterModelOptions, migrations.AlterModelManagers,
            migrations.AlterModelTableComment, migrations.RenameIndex, migrations.AlterConstraint,
            pg.ValidateConstraint,
        ),
        _harmless,
    ),
]  # fmt: skip
