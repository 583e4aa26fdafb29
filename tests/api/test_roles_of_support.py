"""Every operation × risk officers, support and staff without a role (role_matrix.py)."""

import pytest

from tests.api.conftest import AsWeb
from tests.api.factories import World
from tests.api.role_walks import team, walk_as
from tests.matrix import WALK_TIME

__all__ = ["team"]


@WALK_TIME
@pytest.mark.parametrize("letter", "RSN")
def test_staff_may_do_what_their_role_allows(team: World, as_web: AsWeb, letter: str) -> None:
    walk_as(letter, team, as_web)
