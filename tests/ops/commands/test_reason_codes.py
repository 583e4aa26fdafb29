"""The page of reason codes lists every code once, and --check detects a stale page."""

from pathlib import Path

import pytest
from django.core.management import call_command

from common import reason_codes
from common.reason_codes import Code
from ops.management.commands import reason_codes as command

SOURCE = Path(reason_codes.__file__).read_text()


def test_every_code_is_listed_once_with_its_sentence() -> None:
    page = command.reference(SOURCE)
    for code in Code:
        assert page.count(f"| `{code.value}` | {code.sentence} |") == 1
    assert "## Denied: our own rules" in page


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
