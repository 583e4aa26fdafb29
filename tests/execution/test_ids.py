"""Client order ids: valid at every venue and unique."""

import re

import pytest

from execution.ids import (
    all_attempts,
    at_attempt,
    base_of,
    new_client_order_id,
    new_client_order_ids,
)


def test_id_is_eighteen_plain_characters_at_attempt_0() -> None:
    made = new_client_order_id("dev")
    assert re.fullmatch(r"dev[a-z0-9]{14}0", made)


def test_ids_do_not_repeat() -> None:
    assert len({new_client_order_id("dev") for _ in range(10_000)}) == 10_000


@pytest.mark.parametrize("count", [0, 1, 500])
def test_ids_of_a_bundle_are_as_many_and_each_once(count: int) -> None:
    made = new_client_order_ids("dev", count)
    assert len({*made}) == len(made) == count
    assert all(re.fullmatch(r"dev[a-z0-9]{14}0", one) for one in made)


def test_attempt_changes_the_last_digit_only() -> None:
    assert at_attempt("devabcdefghijklmn0", 3) == "devabcdefghijklmn3"
    assert at_attempt("devabcdefghijklmn3", 0) == "devabcdefghijklmn0"
    assert base_of("devabcdefghijklmn7") == "devabcdefghijklmn"
    assert all_attempts("ab5") == [f"ab{digit}" for digit in range(10)]


@pytest.mark.parametrize("attempt", [-1, 10])
def test_there_are_ten_attempts(attempt: int) -> None:
    with pytest.raises(ValueError, match="not one digit"):
        at_attempt("devabcdefghijklmn0", attempt)
