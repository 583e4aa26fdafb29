"""The page of reason codes lists every code once, and --check detects a stale page."""

import re
from pathlib import Path

import pytest
from django.core.management import call_command

from common import reason_codes
from common.ended_orders import ENDED_WAITS
from common.reason_codes import RETRIES, Code
from ops.management.commands import reason_codes as command

SOURCE = Path(reason_codes.__file__).read_text()


def test_every_code_is_listed_once_with_its_sentence() -> None:
    page = command.reference(SOURCE).replace("` † |", "` |")
    for code in Code:
        assert page.count(f"| `{code.value}` | {code.sentence} |") == 1
    assert "## Denied: our own rules" in page


def test_hint_is_listed_and_how_a_code_is_tried_again_once() -> None:
    page, _, retries = command.reference(SOURCE).partition("\n## Tried again automatically\n")
    assert all(code.hint in page for code in Code)
    for code, how in RETRIES.items():
        assert f"`{code.value}`" in retries
        assert retries.count(f"| {how} |") == 1


def test_code_that_ends_a_waiting_entry_is_marked() -> None:
    page = command.reference(SOURCE)
    assert set(re.findall(r"^\| `(\w+)` † \|", page, re.MULTILINE)) == {
        code.value for code in ENDED_WAITS
    }


def test_code_that_the_parser_misses_is_an_error() -> None:
    with pytest.raises(ValueError, match="each code begins a line"):
        command.reference(SOURCE.replace("    MARGIN = (", "    MARGIN=("))


def test_check_detects_a_stale_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "ROOT", tmp_path)
    monkeypatch.setattr(command, "PAGE", tmp_path / "codes.md")
    with pytest.raises(SystemExit) as ended:
        call_command("reason_codes", "--check")
    assert ended.value.code == 1
    assert not command.PAGE.exists()
    call_command("reason_codes")
    call_command("reason_codes", "--check")
    command.PAGE.write_text(command.PAGE.read_text() + "by hand\n")
    with pytest.raises(SystemExit):
        call_command("reason_codes", "--check")
