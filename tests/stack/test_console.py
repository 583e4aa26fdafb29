"""Every page, list and form of the console, asked of a started stack by each kind of user.

The web process has its own role in the database, and each request is a transaction of its own: what
works only inside a test's transaction, or only as the owner of the tables, fails here.
"""

import pytest

from tests.stack import console_cells
from tests.stack.asking import expect_none, wrong_answers
from tests.stack.running_stack import RunningStack

pytestmark = [
    pytest.mark.processes, pytest.mark.timeout(900), pytest.mark.django_db(transaction=True),
]  # fmt: skip


def test_console_answers_each_user_as_its_matrix_states(stack: RunningStack) -> None:
    expect_none(wrong_answers(stack, console_cells.build, console_cells.cells, console_cells.NAMES))
