"""The page of the specification's words is whole, and names files and names that exist."""

from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from buses.catalogue import CATALOGUE
from common.operational.reading import parse
from config.installation import ROOT
from execution.models import Status
from ops.management.commands import specification_page
from ops.specification.page import SECTIONS, SPECIFIED, absent_names, page, terms
from ops.specification.table import Row, Section, faults_of, row
from positions.close_reasons import TARGETS, CloseReason
from tests.common.operational.test_document import SPECIFIED as SETTINGS


def test_each_place_of_the_table_exists() -> None:
    assert list(faults_of(SECTIONS, ROOT)) == []


def test_page_is_what_the_table_makes() -> None:
    assert (ROOT / "docs/specification.md").read_text() == page()


@pytest.mark.parametrize("name", SPECIFIED)
def test_each_name_of_the_specification_is_found_on_the_page(name: str) -> None:
    assert f"`{name}`" in page() or f" {name}`" in page()


def test_each_name_of_the_specification_has_a_row() -> None:
    assert absent_names() == []


def test_page_has_every_setting_event_status_and_close_reason() -> None:
    settings = {name for group, keys in parse(SETTINGS).items() for name in (group, *keys)}
    reasons = set(CloseReason.values) - {target.value for target in TARGETS}
    wanted = settings | reasons | {one.type for one in CATALOGUE} | set(Status.values)
    spans = set(page().split("`")[1::2])
    assert sorted(wanted - terms() - spans) == []


@pytest.fixture
def root(tmp_path: Path) -> Path:
    code = '"""See watch_all."""\n# or watch_some\n@task(name="app.watch")\ndef scan(): ...\n'
    (tmp_path / "tasks.py").write_text(code)
    (tmp_path / "folder").mkdir()
    return tmp_path


def faults(root: Path, *rows: Row) -> list[str]:
    return list(faults_of([Section("Jobs", "", rows)], root))


@pytest.mark.parametrize("place", ["tasks.py", "tasks.py scan", "tasks.py watch", "folder"])
def test_place_that_exists_is_no_fault(root: Path, place: str) -> None:
    assert faults(root, row("`Watch`", "a scan", place)) == []


@pytest.mark.parametrize(
    ("place", "fault"),
    [
        ("gone.py", "no such file"),
        ("tasks.py watch_all", "no such name"),  # a docstring is no code
        ("tasks.py watch_some", "no such name"),
        ("folder scan", "a folder has no names"),
    ],
)
def test_stale_place_is_a_fault(root: Path, place: str, fault: str) -> None:
    assert faults(root, row("`Watch`", "a scan", place)) == [f"`Watch`: {place}: {fault}"]


def test_row_without_place_or_that_breaks_the_page_is_a_fault(root: Path) -> None:
    assert faults(root, row("`A`", "here")) == ["`A`: it has no place"]
    assert faults(root, row("`A`", "a | b", "folder")) == ["`A`: a cell has a | or a line break"]
    twice = row("`A`", "here", "folder")
    assert faults(root, twice, twice) == ["`A`: it has two rows"]


def test_command_writes_the_page_and_refuses_an_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    file = tmp_path / "page.md"
    monkeypatch.setattr(specification_page, "PAGE", file)
    with pytest.raises(SystemExit):
        call_command("specification_page", "--check")
    call_command("specification_page")
    assert file.read_text() == page()
    call_command("specification_page", "--check")


def test_command_refuses_a_stale_place(monkeypatch: pytest.MonkeyPatch) -> None:
    stale = [Section("Jobs", "", (row("`Watch`", "a scan", "gone.py"),))]
    monkeypatch.setattr(specification_page, "SECTIONS", stale)
    with pytest.raises(CommandError, match=r"`Watch`: gone\.py: no such file"):
        call_command("specification_page", "--check")
