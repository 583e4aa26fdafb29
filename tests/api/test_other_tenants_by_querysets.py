"""Every endpoint × other tenants: querysets alone keep them from Alice's objects."""

import pytest

from tests.api.calls_of_others import walk_as
from tests.api.conftest import AsWeb
from tests.api.factories import World
from tests.matrix import WALK_TIME


@WALK_TIME
@pytest.mark.parametrize(("caller", "role"), [("bob", "owner"), ("paula", "owner")])
def test_other_tenants_do_not_reach_alices_objects(
    world: World, as_web: AsWeb, caller: str, role: str
) -> None:
    walk_as(caller, role, world, as_web)
