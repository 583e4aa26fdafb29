"""examples/verify_feed.py finds what was changed, with the standard library alone."""

import ast
import json
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from common.hash_chain import next_hash

SCRIPT = Path(__file__).parents[2] / "examples" / "verify_feed.py"
_SCRIPT = runpy.run_path(str(SCRIPT))
verify: Callable[..., tuple[list[str], str, int]] = _SCRIPT["verify"]
verify_results: Callable[..., tuple[list[str], list[str]]] = _SCRIPT["verify_results"]


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


RESULT = {
    "pair": "EUR/USD", "published_at": "2026-03-02T09:00:20.5+00:00", "percent": "1.25",
    "subscribers": "0",
}  # fmt: skip
SHOWN = {
    "signal": 7, "pair": "EUR/USD", "published_at": "2026-03-02T09:00:20.500000Z",
    "percent": "1.2500", "subscribers": 0, "marks": [], "basis": "", "r": None, "sealed_in": 2,
    "correction": "",
}  # fmt: skip


def result_link(number: int, terms: dict[str, Any]) -> dict[str, Any]:
    content = {"number": number, "kind": "RESULT", "signal": 7, "terms": terms}
    return {"number": number, "hash": "", "content": json.dumps(content)}


def test_result_as_sealed_is_no_finding() -> None:
    links = [*chain(1), result_link(2, RESULT), {"number": 3, "hash": "", "content": None}]
    assert verify_results(links, [SHOWN]) == ([], [])
    without_seal = SHOWN | {"signal": 8, "percent": "9", "sealed_in": None}
    assert verify_results(links, [SHOWN, without_seal]) == ([], [])


def test_sealed_result_that_the_record_does_not_show_is_named() -> None:
    links = [*chain(1), result_link(2, RESULT), {"number": 3, "hash": "", "content": None}]
    found, _ = verify_results(links, [SHOWN | {"signal": 8, "sealed_in": 3}])  # withheld
    assert found == ["S-7: link 2 seals its result, and the record does not show it."]


def test_seal_that_belongs_to_another_result_is_named() -> None:
    links = [*chain(1), result_link(2, RESULT)]
    found, _ = verify_results(links, [SHOWN, SHOWN | {"signal": 8, "sealed_in": 1}])
    assert found == [
        "S-8: the record names link 1 as the seal of its result, and that link seals no result of"
        " it."
    ]


@pytest.mark.parametrize(
    "changed",
    [{"percent": "50"}, {"percent": None}, {"r": "3"}, {"marks": ["PRICE_MOVED"]},
     {"published_at": "2026-03-02T09:00:21.500000Z"}, {"pair": "GBP/USD"}],
)  # fmt: skip
def test_result_that_differs_from_its_link_is_named(changed: dict[str, Any]) -> None:
    (name,) = changed
    findings, _ = verify_results([result_link(2, RESULT)], [SHOWN | changed])
    assert findings == [f"S-7: the record shows another result than link 2 seals: {name}."]


def test_corrected_result_is_named_and_counts() -> None:
    corrected = RESULT | {"percent": "2", "correction": "a wrong price"}
    links = [result_link(2, RESULT), result_link(3, corrected)]
    found = verify_results(links, [SHOWN | {"percent": "2"}])
    assert found == ([], ["S-7 was corrected: a wrong price"])
    assert "link 3 seals: percent" in verify_results(links, [SHOWN])[0][0]
