"""Every page of the portal × visitors and a tenant without rows (role_matrix.py)."""

from typing import Any

import pytest
from django.test import Client

from tests.matrix import WALK_TIME
from tests.portal import role_walks
from tests.portal.factories import World
from tests.portal.role_walks import WEB, Addresses, Respond, alices, client, respond, user

__all__ = ["alices", "client", "respond", "user"]
pytestmark = [
    WALK_TIME,
    pytest.mark.usefixtures("private_feeds"),
    pytest.mark.parametrize("caller", ["visitor", "nora"]),
]


def test_each_caller_gets_the_outcome_of_the_matrix(
    world: World, alices: Addresses, client: Client, respond: Respond, as_web: None, caller: str
) -> None:
    role_walks.walk_pages(caller, world, alices, client, respond)


def test_post_changes_no_rows_of_others(
    world: World, alices: Addresses, client: Client, respond: Respond, enqueued: list[Any],
    caller: str,
) -> None:  # fmt: skip
    role_walks.walk_posts(caller, WEB, world, alices, client, respond)
