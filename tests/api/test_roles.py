"""Every operation of the API × every role of staff, against Alice's rows (role_matrix.py)."""

from typing import Any

import pytest
from django.db import transaction

from common.permissions import Role
from tests.api.conftest import AsWeb
from tests.api.factories import World
from tests.api.role_matrix import MATRIX, OWN
from tests.api.test_matrix import CASES, KEYED, call, ids, snapshot
from tests.roles import staff
from users.services import create_api_key

LETTERS = {
    "A": (Role.ADMINISTRATOR,),
    "O": (Role.OPERATOR,),
    "R": (Role.RISK_OFFICER,),
    "S": (Role.SUPPORT,),
    "N": (),
}
JUDGED = [name for name in KEYED if MATRIX.get(name) != OWN]


@pytest.fixture
def team(world: World) -> World:
    """One of each role, with an API key; called by the letter."""
    for letter, roles in LETTERS.items():
        _, world.keys[letter] = create_api_key(staff(*roles), "test")
    return world


def test_every_operation_is_in_the_table() -> None:
    """CASES is compared with the OpenAPI schema by test_matrix.py."""
    assert set(MATRIX) == set(CASES)


@pytest.mark.parametrize("name", JUDGED)
def test_staff_do_what_their_role_says(team: World, as_web: AsWeb, name: str) -> None:
    case, before = CASES[name], snapshot()
    for letter in LETTERS:
        with transaction.atomic():
            with as_web():
                response = call(team, letter, name, case)
            told: Any = response.json() if response.content else {}
            if letter in MATRIX[name]:
                assert response.status_code == (case.operators or case.ok), (letter, told)
                if case.kind == "list":
                    assert str(case.shows(team)) in ids(told), letter
            elif name.startswith("GET"):
                judge_unseen(team, response, told, name, letter)
            else:
                judge_refused(response, told, letter)
                assert snapshot() == before, letter
            transaction.set_rollback(True)


def judge_unseen(world: World, response: Any, told: Any, name: str, letter: str) -> None:
    """Who may not read everything sees of others what a tenant would: nothing."""
    if CASES[name].kind == "list":
        assert response.status_code == 200
        assert str(CASES[name].shows(world)) not in ids(told), letter
    else:
        assert (response.status_code, told["code"]) == (404, "NOT_FOUND"), (letter, told)


def judge_refused(response: Any, told: Any, letter: str) -> None:
    """403, a stable code, which right is missing and who has it."""
    assert (response.status_code, told.get("code")) == (403, "RIGHT_MISSING"), (letter, told)
    assert told["numbers"]["right"]
    assert "An administrator gives roles" in told["detail"]
