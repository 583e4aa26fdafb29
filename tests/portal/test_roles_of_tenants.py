"""Every page of the portal × visitors and a tenant without rows (role_matrix.py)."""

import pytest
from django.test import Client

from tests.matrix import WALK_TIME
from tests.portal.factories import World
from tests.portal.role_walks import Addresses, Respond, alices, client, respond, user, walk_pages

__all__ = ["alices", "client", "respond", "user"]
pytestmark = pytest.mark.usefixtures("private_feeds")


@WALK_TIME
@pytest.mark.parametrize("caller", ["visitor", "nora"])
def test_each_caller_gets_the_outcome_of_the_matrix(
    world: World, alices: Addresses, client: Client, respond: Respond, as_web: None, caller: str
) -> None:
    walk_pages(caller, world, alices, client, respond)
