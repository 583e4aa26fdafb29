"""Every operation × the roles that operate accounts, against Alice's rows (role_matrix.py).

The other roles: test_roles_of_support.py.
"""

import pytest

from tests.api.cases import CASES
from tests.api.conftest import AsWeb
from tests.api.factories import World
from tests.api.role_matrix import MATRIX
from tests.api.role_walks import team, walk_as
from tests.matrix import WALK_TIME

__all__ = ["team"]


def test_every_operation_is_in_the_table() -> None:
    """CASES is compared with the OpenAPI schema by test_matrix.py."""
    assert set(MATRIX) == set(CASES)


@WALK_TIME
@pytest.mark.parametrize("letter", "AO")
def test_staff_may_do_what_their_role_allows(team: World, as_web: AsWeb, letter: str) -> None:
    walk_as(letter, team, as_web)
