"""The documentation: its links lead to what exists, and the site shows its lists as lists.

`make docs` builds the same pages into a site, with the same anchors, and fails on dead links too.
"""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
LINK = re.compile(r"\](?:\(|: )(?!https?:|mailto:)([^\s#)]*)(?:#([^)\s]+))?(?:\)|$)", re.MULTILINE)
DECISION = re.compile(r"\d{4}-")  # the menu has the list of decisions only
SITE = sorted(DOCS.rglob("*.md"))
PAGES = [*SITE, ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("brokers/*/README.md")]


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as the repository's view and the site make them."""
    found = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", title.lower()) for title in found)
    return {title.strip().replace(" ", "-") for title in plain}


def without_code(text: str) -> str:
    """Leave out what is no link: blocks and spans of code."""
    return re.sub(r"^```.*?^```|`[^`\n]*`", "", text, flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_links_lead_to_pages_and_headings(page: Path) -> None:
    for path, anchor in LINK.findall(without_code(page.read_text())):
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{page.name} links to {path}"
        assert not anchor or anchor in anchors(target), f"{page.name} links to {path}#{anchor}"


@pytest.mark.parametrize("page", SITE, ids=[page.name for page in SITE])
def test_links_stay_in_the_folder_that_the_site_is_built_from(page: Path) -> None:
    for path, _ in LINK.findall(without_code(page.read_text())):
        target = (page.parent / path).resolve() if path else page
        assert target.is_relative_to(DOCS), f"{page.name} links to {path}: name the file as code"


def test_menu_of_the_site_has_every_page_once() -> None:
    menu = (ROOT / "mkdocs.yml").read_text().partition("\nnav:\n")[2]
    named = re.findall(r"([\w/-]+\.md)$", menu, re.MULTILINE)
    pages = {page.relative_to(DOCS).as_posix() for page in SITE if not DECISION.match(page.name)}
    assert sorted(named) == sorted(pages)


def test_list_of_decisions_has_every_decision() -> None:
    listed = re.findall(
        r"^- \[\d{4}\]\((\S+)\) \S", (DOCS / "adr/README.md").read_text(), re.MULTILINE
    )
    assert sorted(listed) == sorted(page.name for page in SITE if DECISION.match(page.name))


@pytest.mark.parametrize("page", SITE, ids=[page.name for page in SITE])
def test_lists_are_written_as_the_site_needs_them(page: Path) -> None:
    """A list follows a blank line, and what is inside an item is indented by four."""
    before = ""
    for number, line in enumerate(without_code(page.read_text()).splitlines(), 1):
        is_item = re.match(r"( *)([-*]|\d+\.) ", line)
        if is_item:
            indent = len(is_item[1])
            continues = re.match(r" *([-*]|\d+\.) |  |#|$", before)
            assert indent % 4 == 0, f"{page.name}:{number} (without code): indent the list by four"
            assert continues, (
                f"{page.name}:{number} (without code): put a blank line before the list"
            )
        before = line
