"""Walks through the operations of the API as each role of staff (role_matrix.py)."""

from contextlib import nullcontext
from typing import Any

import pytest

from common.permissions import Role
from tests.api.calls import KEYED, OF_CALLERS, TABLES, call, data_of, expect_listed, outcome
from tests.api.cases import CASES
from tests.api.conftest import AsWeb
from tests.api.factories import World
from tests.api.role_matrix import MATRIX
from tests.matrix import Cell, Rows, Walk
from tests.roles import staff
from users.services import create_api_key

LETTERS = {
    "A": (Role.ADMINISTRATOR,),
    "O": (Role.OPERATOR,),
    "R": (Role.RISK_OFFICER,),
    "S": (Role.SUPPORT,),
    "N": (),
}
ROLE_DEPENDENT = [name for name in KEYED if name not in OF_CALLERS]


def operations_for(letter: str) -> list[str]:
    """Return the operations to call as a role.

    Each read needs the same right: administrators, who have all rights, and support, who have no
    other one, call every read; the roles between them call those of lists.
    """
    return [
        name
        for name in ROLE_DEPENDENT
        if letter not in "OR" or not name.startswith("GET") or CASES[name].kind == "list"
    ]


@pytest.fixture
def team(world: World) -> World:
    """Return a world with one user of each role, with an API key, named by the role's letter."""
    for letter, roles in LETTERS.items():
        _, world.keys[letter] = create_api_key(staff(*roles), "test")
    return world


def walk_as(letter: str, team: World, as_web: AsWeb) -> None:
    """Call each operation as a role.

    Querysets alone must suffice to keep staff without a role from the rows of others.
    """
    before, client = Rows(TABLES), team.client(letter)
    role = ", ".join(LETTERS[letter]) or "no role"
    with Walk() as walk:
        for name in walk.each(operations_for(letter)):
            case = CASES[name]
            with walk.cell(name, role) as cell:
                with as_web() if letter != "N" else nullcontext():
                    response = call(team, client, name, case)
                if letter in MATRIX[name]:
                    cell.expect(case.operators or case.ok, response.status_code)
                    if case.kind == "list":
                        expect_listed(cell, team, response, case, listed=True)
                elif not name.startswith("GET") or case.kind == "operator":
                    expect_right_missing(cell, response)
                    cell.expect_unchanged(before)
                elif case.kind == "list":  # as a tenant would, they see nothing of others
                    expect_listed(cell, team, response, case, listed=False)
                else:
                    cell.expect("404 NOT_FOUND", outcome(response))


def expect_right_missing(cell: Cell, response: Any) -> None:
    """Expect a 403 with a stable code that names the missing right and who gives it."""
    cell.expect("403 RIGHT_MISSING", outcome(response))
    if response.status_code == 403:
        data = data_of(response)
        cell.expect(True, bool(data["numbers"]["right"]), "names the right")
        cell.expect(True, "An administrator gives roles" in data["detail"], "names who gives it")
