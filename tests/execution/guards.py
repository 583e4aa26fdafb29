"""Tables of decisions that write: on which rows each does something, and on which it does nothing.

A guard is a statement whose WHERE repeats what the decision has seen. `ready` is a row as it was
seen; each of `unless` is one thing that another party may have done meanwhile, and then nothing may
be written. `also` are other rows on which the decision counts. Each cell is rolled back.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.db import transaction

from common.db.sql import rows, run
from execution.models import Order, Status
from tests.execution import factories
from tests.execution.stored_rows import TABLES, changes_of
from tests.matrix import Cell, Walk

Ids = Mapping[str, Any]
"""The keys of the rows that a table's cells change, by their kind."""
Columns = Mapping[str, str]
"""SQL expressions by column, of the order; `position.quantity` names a column of another row."""

NOW = "statement_timestamp()"  # the same in all columns of a row
LATER, EARLIER = f"{NOW} + interval '1 hour'", f"{NOW} - interval '1 hour'"
NONE = "NULL"


@dataclass(frozen=True, slots=True)
class Guard:
    """A decision's write. write: gets the ids of the rows; returns rows, or how many were written.

    ignored: columns that it changes whatever the row has, such as the time of its next turn.
    moves_fence: it takes the order from who has it, whose later decisions are stale then.
    """

    write: Callable[[Ids], Any]
    ready: Columns
    unless: Mapping[str, Columns]
    also: Mapping[str, Columns] = field(default_factory=dict)
    ignored: tuple[str, ...] = ()
    moves_fence: bool = False


def status(name: str, **columns: str) -> dict[str, str]:
    """Return the columns of an order with a status. Ended ones have a time."""
    ends = {"done_at": NOW if name in _ENDED else NONE}
    return {"status": f"'{name}'", **ends, **columns}


_ENDED = {"FILLED", "SKIPPED", "DENIED", "REJECTED", "FAILED", "CANCELLED", "EXPIRED"}
STATES: dict[str, dict[str, str]] = {name: status(name) for name in Status.values}
STATES["PARTIALLY_FILLED"]["filled_quantity"] = "40"
STATES["CANCEL_REQUESTED"]["filled_quantity"] = "40"
STATES["FILLED"]["filled_quantity"] = "quantity"


def except_for(*names: str) -> dict[str, dict[str, str]]:
    """Return every status but these, as cells."""
    return {f"it is {name}": row for name, row in STATES.items() if name not in names}


def cells_of(guard: Guard) -> Iterator[tuple[str, Columns, bool]]:
    """Yield the cells of a decision: a name, other columns, and whether it does something."""
    yield "it is as it was seen", {}, True
    for cell, columns in guard.also.items():
        yield cell, columns, True
    for cell, columns in guard.unless.items():
        yield cell, columns, False


def judge(cell: Cell, guard: Guard, ids: Ids, columns: Columns, *, counts: bool) -> None:
    """Note if the decision does not do in a cell what it should."""
    changed = _changes(guard, ids, {**guard.ready, **columns})
    if bool(changed) is not counts:
        cell.note(f"expected {'something' if counts else 'nothing'} to change, found {changed}")
    elif guard.moves_fence and counts and not any(": fence was" in one for one in changed):
        cell.note(f"expected another fence, found {changed}")


def _changes(guard: Guard, ids: Ids, columns: Columns) -> list[str]:
    with transaction.atomic():
        _set(ids, columns)
        result: list[Any] = []
        changed = changes_of(lambda: result.append(guard.write(ids)), guard.ignored)
        found = result[0]
        if isinstance(found, list | set | dict):  # of a SELECT: what it finds
            changed += [f"found {found}"] if found else []
        transaction.set_rollback(True)
    return changed


def _set(ids: Ids, columns: Columns) -> None:
    by_table: dict[str, list[str]] = {}
    for name, value in columns.items():
        table, _, column = name.rpartition(".")
        by_table.setdefault(table or "order", []).append(f"{column} = {value}")
    for table, assignments in by_table.items():
        stored, key = TABLES.get(table, TABLES["order"])
        factories.force(
            f"UPDATE {stored} SET {', '.join(assignments)} WHERE {key} = %s", (ids[table],)
        )


def expect_guards(guards: Mapping[str, Guard], ids: Ids) -> None:
    """Fail with every wrong cell of a table; one that raises an error is one of them."""
    __tracebackhide__ = True
    with Walk() as walk:
        for name, guard in walk.each(guards.items()):
            for case, columns, counts in walk.each(cells_of(guard)):
                with walk.cell(name, case) as cell:
                    judge(cell, guard, ids, columns, counts=counts)


def running(statement: str, **parameters: Any) -> Callable[[Ids], Any]:
    """Return a write that runs a statement; a parameter that is callable gets the rows' ids."""

    def write(ids: Ids) -> Any:
        given = {name: value(ids) if callable(value) else value for name, value in
                 parameters.items()}  # fmt: skip
        return rows(statement, given) if _reads(statement) else run(statement, given)

    return write


def with_list(statement: str, *parameters: Any) -> Callable[[Ids], Any]:
    """Return a write that runs a statement with unnamed parameters."""

    def write(ids: Ids) -> Any:
        given = [value(ids) if callable(value) else value for value in parameters]
        return rows(statement, given) if _reads(statement) else run(statement, given)

    return write


def _reads(statement: str) -> bool:
    return hasattr(statement, "row_type") or statement.lstrip().startswith("SELECT")


def order_ids(ids: Ids) -> list[int]:
    """Return the id of the order, as the list that most statements take."""
    return [ids["order"]]


def position_ids(ids: Ids) -> list[int]:
    """Return the id of the position, as a list."""
    return [ids["position"]]


def connection_ids(ids: Ids) -> list[Any]:
    """Return the account of the order, as a list."""
    return [Order.objects.get(pk=ids["order"]).connection_id]
