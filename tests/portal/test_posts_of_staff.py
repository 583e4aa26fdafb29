"""Every page of the portal is sent a form by every role of staff (role_matrix.py)."""

from typing import Any

import pytest
from django.test import Client

from tests.matrix import WALK_TIME
from tests.portal.factories import World
from tests.portal.role_walks import (
    ROLES,
    WEB,
    Addresses,
    Respond,
    alices,
    client,
    respond,
    user,
    walk_posts,
)

__all__ = ["alices", "client", "respond", "user"]
pytestmark = pytest.mark.usefixtures("private_feeds")


@WALK_TIME
@pytest.mark.parametrize(
    ("caller", "role"), [*((role, WEB) for role in ROLES), ("no role", "NONE")]
)
def test_post_changes_no_rows_of_others(
    world: World, alices: Addresses, client: Client, respond: Respond, enqueued: list[Any],
    caller: str, role: str,
) -> None:  # fmt: skip
    """Querysets alone must suffice for staff without a role; for tenants: test_access.py."""
    walk_posts(caller, role, world, alices, client, respond)
