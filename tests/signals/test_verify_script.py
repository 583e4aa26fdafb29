"""examples/verify_feed.py finds what was changed, with the standard library alone."""

import ast
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from common.hash_chain import next_hash

SCRIPT = Path(__file__).parents[2] / "examples" / "verify_feed.py"
verify: Callable[..., tuple[list[str], str, int]] = runpy.run_path(str(SCRIPT))["verify"]


def chain(count: int = 5) -> list[dict[str, Any]]:
    links: list[dict[str, Any]] = []
    previous = ""
    for number in range(1, count + 1):
        content = f'{{"number": {number}, "sealed_at": "2026-01-0{number}", "price": "1.1"}}'
        previous = next_hash(previous, content)
        links.append({"number": number, "hash": previous, "content": content})
    return links


def test_intact_chain_verifies_with_its_kept_heads() -> None:
    links = chain()
    kept = [f"{one['number']}:{one['hash']}" for one in links]
    assert verify(links, kept) == ([], kept[-1], 0)


def test_withheld_link_is_taken_by_its_hash() -> None:
    links = chain()
    links[-1]["content"] = None
    assert verify(links) == ([], f"5:{links[-1]['hash']}", 1)


def edited(links: list[dict[str, Any]]) -> None:
    links[2]["content"] = links[2]["content"].replace("1.1", "1.2")


def removed(links: list[dict[str, Any]]) -> None:
    del links[2]


def swapped(links: list[dict[str, Any]]) -> None:
    links[2], links[3] = links[3], links[2]


def shortened(links: list[dict[str, Any]]) -> None:
    del links[4]


def written_again(links: list[dict[str, Any]]) -> None:
    edited(links)
    previous = links[1]["hash"]
    for one in links[2:]:
        previous = one["hash"] = next_hash(previous, one["content"])


@pytest.mark.parametrize("tamper", [edited, removed, swapped, shortened, written_again])
def test_tampering_is_found(tamper: Callable[[list[dict[str, Any]]], None]) -> None:
    links = chain()
    kept = f"5:{links[-1]['hash']}"
    tamper(links)
    assert verify(links, [kept])[0]


def test_script_needs_the_standard_library_only() -> None:
    imported = {
        name.name.partition(".")[0]
        for node in ast.walk(ast.parse(SCRIPT.read_text()))
        if isinstance(node, ast.Import)
        for name in node.names
    }
    assert imported <= set(sys.stdlib_module_names)


def test_kept_hash_alone_is_looked_up() -> None:
    links = chain()
    kept = links[2]["hash"]
    assert verify(links, [kept])[0] == []
    written_again(links)
    assert verify(links, [kept])[0] == [f"No link has the hash {kept}, which you kept."]
