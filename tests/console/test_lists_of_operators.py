"""Every list of the console × operators and risk officers (role_matrix.py)."""

from typing import Any

import pytest
from django.test import Client

from tests.console.role_walks import expect_lists, rows, team
from tests.matrix import WALK_TIME

__all__ = ["rows", "team"]


@WALK_TIME
@pytest.mark.parametrize("letter", "OR")
def test_lists_are_open_to_the_roles_of_the_matrix(
    rows: dict[str, Any], team: dict[str, Client], letter: str
) -> None:
    expect_lists(letter, rows, team[letter])
