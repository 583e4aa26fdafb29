"""Links of all pages under docs/ lead to a page and a heading that are there."""

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
LINK = re.compile(r"\](?:\(|: )([\w./-]+\.md)?(?:#([^)\s]+))?(?:\)|$)", re.MULTILINE)
PAGES = sorted(DOCS.rglob("*.md"))


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    found = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", title.lower()) for title in found)
    return {title.strip().replace(" ", "-") for title in plain}


@pytest.mark.parametrize("page", PAGES, ids=[page.name for page in PAGES])
def test_links_lead_to_pages_and_headings(page: Path) -> None:
    for path, anchor in LINK.findall(page.read_text()):
        to = (page.parent / path).resolve() if path else page
        assert to.exists(), f"{page.name} links to {path}"
        assert not anchor or anchor in anchors(to), f"{page.name} links to {path}#{anchor}"
