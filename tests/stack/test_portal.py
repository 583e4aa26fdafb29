"""Every page of the portal, asked of a started stack by each kind of user.

The web process has its own role in the database, and each request is a transaction of its own: what
works only inside a test's transaction, or only as the owner of the tables, fails here.
"""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.stack import link_cells, portal_cells
from tests.stack.asking import Cell, expect_none, wrong_answers
from tests.stack.running_stack import RunningStack

pytestmark = [
    pytest.mark.processes, pytest.mark.timeout(900), pytest.mark.django_db(transaction=True),
]  # fmt: skip


def test_portal_answers_each_user_as_its_matrix_states(stack: RunningStack) -> None:
    def cells_of(world: Any) -> Iterator[Cell]:
        yield from portal_cells.cells(world)
        yield from link_cells.cells()

    expect_none(wrong_answers(stack, portal_cells.PortalWorld, cells_of, portal_cells.NAMES))
