"""Every page of the portal × every role of staff (role_matrix.py)."""

import pytest
from django.test import Client

from tests.matrix import WALK_TIME
from tests.portal.factories import World
from tests.portal.role_walks import (
    ROLES,
    Addresses,
    Respond,
    alices,
    client,
    respond,
    user,
    walk_pages,
)

__all__ = ["alices", "client", "respond", "user"]
pytestmark = pytest.mark.usefixtures("private_feeds")


@WALK_TIME
@pytest.mark.parametrize("caller", [*ROLES, "no role"])
def test_each_caller_gets_the_outcome_of_the_matrix(
    world: World, alices: Addresses, client: Client, respond: Respond, caller: str,
    request: pytest.FixtureRequest,
) -> None:  # fmt: skip
    """Querysets alone must suffice to keep staff without a role from the rows of others."""
    if caller != "no role":
        request.getfixturevalue("as_web")
    walk_pages(caller, world, alices, client, respond)
