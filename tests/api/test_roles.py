"""Every operation of the API × every role of staff, against Alice's rows (role_matrix.py)."""

from typing import Any

import pytest
from django.db import transaction

from common.permissions import Role
from tests.api.conftest import AsWeb
from tests.api.factories import World
from tests.api.role_matrix import MATRIX, OWN
from tests.api.test_matrix import CASES, KEYED, call, ids, moves_money, snapshot
from tests.roles import staff
from tests.sampling import often
from users.services import create_api_key

LETTERS = {
    "A": (Role.ADMINISTRATOR,),
    "O": (Role.OPERATOR,),
    "R": (Role.RISK_OFFICER,),
    "S": (Role.SUPPORT,),
    "N": (),
}
ROLE_DEPENDENT = [name for name in KEYED if MATRIX.get(name) != OWN]


@pytest.fixture
def team(world: World) -> World:
    """Return a world with one user of each role, with an API key, named by the role's letter."""
    for letter, roles in LETTERS.items():
        _, world.keys[letter] = create_api_key(staff(*roles), "test")
    return world


def test_every_operation_is_in_the_table() -> None:
    """CASES is compared with the OpenAPI schema by test_matrix.py."""
    assert set(MATRIX) == set(CASES)


@pytest.mark.parametrize("name", often(ROLE_DEPENDENT, every=3, start=2, always=moves_money))
def test_staff_may_do_what_their_role_allows(team: World, as_web: AsWeb, name: str) -> None:
    case, before = CASES[name], snapshot()
    for letter in LETTERS:
        with transaction.atomic():
            with as_web():
                response = call(team, letter, name, case)
            data: Any = response.json() if getattr(response, "content", b"") else {}
            if letter in MATRIX[name]:
                assert response.status_code == (case.operators or case.ok), (letter, data)
                if case.kind == "list":
                    assert str(case.shows(team)) in ids(data), letter
            elif name.startswith("GET"):
                assert_not_visible(team, response, data, name, letter)
            else:
                assert_right_missing(response, data, letter)
                assert snapshot() == before, letter
            transaction.set_rollback(True)


def assert_not_visible(world: World, response: Any, data: Any, name: str, letter: str) -> None:
    """Assert that staff without the right to read see nothing of others, as a tenant would."""
    if CASES[name].kind == "list":
        assert response.status_code == 200
        assert str(CASES[name].shows(world)) not in ids(data), letter
    else:
        assert (response.status_code, data["code"]) == (404, "NOT_FOUND"), (letter, data)


def assert_right_missing(response: Any, data: Any, letter: str) -> None:
    """Assert a 403 with a stable code that names the missing right and who gives it."""
    assert (response.status_code, data.get("code")) == (403, "RIGHT_MISSING"), (letter, data)
    assert data["numbers"]["right"]
    assert "An administrator gives roles" in data["detail"]
