"""Every list of the console × administrators, who see most (role_matrix.py)."""

from typing import Any

from django.test import Client

from tests.console.role_walks import ON_LISTS, expect_lists, rows, team
from tests.matrix import WALK_TIME

__all__ = ["rows", "team"]


@WALK_TIME
def test_lists_are_open_and_lead_to_their_actions(
    rows: dict[str, Any], team: dict[str, Client]
) -> None:
    assert ON_LISTS - expect_lists("A", rows, team["A"]).seen == set()
