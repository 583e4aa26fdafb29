"""Every operation, asked of a started stack by each kind of user.

The web process has its own role in the database, and each request is a transaction of its own: what
works only inside a test's transaction, or only as the owner of the tables, fails here.
"""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.stack import addresses, api_cells, open_cells
from tests.stack.asking import Cell, expect_none, wrong_answers
from tests.stack.running_stack import RunningStack

pytestmark = [
    pytest.mark.processes, pytest.mark.timeout(900), pytest.mark.django_db(transaction=True),
]  # fmt: skip


def test_every_address_is_known_to_a_test() -> None:
    assert addresses.unknown() == [], "Add them to the role matrix of their pages, or to OPEN."


def test_operations_answer_each_user_as_their_matrices_state(stack: RunningStack) -> None:
    def cells_of(world: Any) -> Iterator[Cell]:
        yield from open_cells.cells()
        yield from api_cells.cells(world)

    expect_none(wrong_answers(stack, api_cells.build, cells_of, api_cells.NAMES, api_cells.key_of))
