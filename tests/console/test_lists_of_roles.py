"""Every list of the console × the roles that change what is there (role_matrix.py)."""

from typing import Any

import pytest
from django.test import Client

from tests.console.role_walks import ON_LISTS, expect_lists, rows, team
from tests.matrix import WALK_TIME

__all__ = ["rows", "team"]


@WALK_TIME
@pytest.mark.parametrize("letter", "AOR")
def test_lists_are_open_and_lead_to_their_actions(
    rows: dict[str, Any], team: dict[str, Client], letter: str
) -> None:
    buttons = expect_lists(letter, rows, team[letter])
    if letter == "A":
        assert ON_LISTS - buttons.seen == set()
