"""Every page of the console × administrators, who see most (role_matrix.py)."""

from typing import Any

from django.test import Client

from tests.console.role_walks import HIDDEN, ON_LISTS, expect_pages, rows, team
from tests.matrix import WALK_TIME

__all__ = ["rows", "team"]


@WALK_TIME
def test_pages_are_open_and_lead_to_every_action(
    rows: dict[str, Any], team: dict[str, Client]
) -> None:
    buttons = expect_pages("A", rows, team["A"])
    assert buttons.allowed - buttons.seen - HIDDEN - ON_LISTS == set()
