"""What options of commands take, and the sentence with which they refuse."""

import pytest
from django.core.management import CommandError, call_command

from common.process.commands import read_seconds, row_number


@pytest.mark.parametrize("text", ["12", "S-12", "s-12"])
def test_number_is_read_with_and_without_its_letter(text: str) -> None:
    assert row_number("S-", "a signal")(text) == 12


@pytest.mark.parametrize("text", ["0", "S-", "twelve", "-12", "O-12", "²"])
def test_other_texts_are_no_number_of_a_signal(text: str) -> None:
    refusal = f"--signal: {text!r} is not the number of a signal, such as S-12 or 12."
    with pytest.raises(CommandError, match=refusal):
        call_command("cancel_all", f"--signal={text}")


@pytest.mark.parametrize("option", ["audit --wait", "archive --seconds", "reconcile --wait"])
@pytest.mark.parametrize("text", ["-3", "-0.5", "nan", "inf", "long"])
def test_wait_is_a_number_of_seconds(option: str, text: str) -> None:
    command, name = option.split()
    refusal = f"{name}: {text!r} is not a number of seconds, such as 20; 0 is the least."
    with pytest.raises(CommandError, match=refusal):
        call_command(command, f"{name}={text}")


@pytest.mark.parametrize(("text", "read"), [("0", 0), ("0.5", 0.5), ("20", 20)])
def test_seconds_are_read(text: str, read: float) -> None:
    assert read_seconds(text) == read
