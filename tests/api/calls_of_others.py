"""Calls of every operation by those whom its objects are not of."""

from contextlib import nullcontext
from typing import Any

from tests.api.calls import KEYED, TABLES, call, data_of, expect_listed, outcome
from tests.api.cases import CASES, Case
from tests.api.conftest import AsWeb
from tests.api.factories import World
from tests.matrix import Cell, Rows, Walk


def walk_as(caller: str, role: str, world: World, as_web: AsWeb) -> None:
    """Call each operation about Alice's objects as another caller, who gets none.

    role: of the database. With the owner, querysets alone must suffice; with `web`, what others
    call under row-level security still works.
    """
    before, client = Rows(TABLES), world.client(caller)
    with Walk() as walk:
        for name in walk.each(KEYED):
            with walk.cell(name, f"{caller} ({role})") as cell:
                with as_web() if role == "web" else nullcontext():
                    response = call(world, client, name, CASES[name])
                expect_refused_to_others(cell, world, response, caller, CASES[name])
                if CASES[name].kind != "any":
                    cell.expect_unchanged(before)


def expect_refused_to_others(
    cell: Cell, world: World, response: Any, caller: str, case: Case
) -> None:
    found, data = outcome(response), data_of(response)
    if caller == "anonymous":
        cell.expect("401 AUTHENTICATION_REQUIRED", found)
        cell.expect("Bearer", response.get("WWW-Authenticate"), "WWW-Authenticate")
    elif case.kind in ("own", "private") or case.is_for_staff:
        cell.expect("403 RIGHT_MISSING" if case.is_for_staff else "404 NOT_FOUND", found)
    elif case.kind in ("foreign", "operator"):
        cell.expect(" ".join(map(str, case.others)), found)
    elif case.kind == "list":
        expect_listed(cell, world, response, case, listed=False)
    else:
        cell.expect(case.ok, response.status_code)
        for count_field in ("count", "marked"):
            cell.expect(0, data.get(count_field, 0), count_field)
