"""The page of the specification's words names files and names that exist."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/specification.md"
SPAN = re.compile(r"`([^`]+)`")
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in PAGE.read_text().splitlines()
    if line.startswith("|") and not line.startswith(("| ---", "| term"))
]
PLACES = sorted({place for row in ROWS for place in SPAN.findall(row[-1])})


def test_each_row_has_a_term_and_a_place() -> None:
    assert len(ROWS) > 20
    for row in ROWS:
        assert len(row) == 3, row
        assert SPAN.findall(row[2]), row


@pytest.mark.parametrize("place", PLACES)
def test_place_exists_and_holds_the_name(place: str) -> None:
    path, _, name = place.partition(" ")
    file = ROOT / path
    assert file.exists(), f"{place}: no such file"
    if name:
        assert re.search(rf"\b{re.escape(name)}\b", file.read_text()), f"{place}: no such name"
