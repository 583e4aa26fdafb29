"""Verify the record of a Fillcast feed with nothing but Python 3.11 and its standard library.

    python verify_feed.py https://fillcast.example.com my-feed
    python verify_feed.py https://fillcast.example.com my-feed --expect 1041:9f2c…

It reads all links over the API and computes each hash again: SHA-256 of the previous link's hash
(text, empty for the first) and the link's content, exactly as the API gives it. It prints the head,
NUMBER:HASH. Keep it, and pass it with --expect next time: it proves that what came before was not
changed, not even by the operator of the service. So do the links in your digests and webhooks
(`record_link`); their hash alone is enough.

It also compares each trade that the record shows with the link that seals its result; a result that
was sealed twice is named as corrected.

A link whose content is withheld (for 24 hours, from those who do not take the feed) is taken by its
hash; run it again later, or with an API key of a subscriber in FILLCAST_API_KEY.
Exit code: 0 if the record is intact, 1 if not.
"""

import argparse
import hashlib
import json
import os
import sys
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any


def read(address: str) -> Any:
    """Return the JSON at an address of the API."""
    request = urllib.request.Request(address)
    if key := os.environ.get("FILLCAST_API_KEY"):
        request.add_header("Authorization", f"Bearer {key}")
    with urllib.request.urlopen(request, timeout=30) as response:
        return json.load(response)


def all_links(base: str, slug: str) -> Iterator[dict[str, Any]]:
    """Yield all links, the oldest first."""
    after: int | None = 0
    while after is not None:
        query = urllib.parse.urlencode({"after": after, "limit": 500})
        page = read(f"{base}/api/v1/feeds/{slug}/record/links/?{query}")
        yield from page["links"]
        after = page["next_after"]


def all_trades(base: str, slug: str) -> Iterator[dict[str, Any]]:
    """Yield all trades that the record shows, the newest first."""
    query, before = {"limit": "500"}, None
    while True:
        page = read(f"{base}/api/v1/feeds/{slug}/record/trades/?{urllib.parse.urlencode(query)}")
        yield from page["trades"]
        before = page["next_before"]
        if before is None:
            return
        query["before"] = str(before)


def verify_results(
    links: Iterable[dict[str, Any]], trades: Iterable[dict[str, Any]]
) -> tuple[list[str], list[str]]:
    """Return (findings, corrections): what the record shows otherwise than its links seal it.

    A trade whose link is withheld is not compared. Links are withheld no longer than trades: the
    trade of each result that can be read is shown.
    """
    findings: list[str] = []
    corrections: list[str] = []
    sealed: dict[int, tuple[int, dict[str, Any]]] = {}
    readable: set[int] = set()
    for link in links:
        if link["content"]:
            readable.add(link["number"])
        content = json.loads(link["content"]) if link["content"] else {}
        if content.get("kind") == "RESULT":
            reason = content["terms"].pop("correction", None)
            if reason is not None:
                corrections.append(f"S-{content['signal']} was corrected: {reason}")
            sealed[content["signal"]] = content["number"], content["terms"]
    not_shown = set(sealed)
    for trade in trades:
        not_shown.discard(trade["signal"])
        number, terms = sealed.get(trade["signal"], (0, {}))
        if not number and trade["sealed_in"] in readable:
            findings.append(
                f"S-{trade['signal']}: the record names link {trade['sealed_in']} as the seal of"
                " its result, and that link seals no result of it."
            )
        names = set(terms) | (set(trade) - {"signal", "sealed_in", "correction"})
        changed = [
            name for name in sorted(names) if number and not same(terms.get(name), trade.get(name))
        ]
        if changed:
            findings.append(
                f"S-{trade['signal']}: the record shows another result than link {number} seals:"
                f" {', '.join(changed)}."
            )
    findings += [
        f"S-{signal}: link {sealed[signal][0]} seals its result, and the record does not show it."
        for signal in sorted(not_shown)
    ]
    return findings, corrections


def same(sealed: Any, shown: Any) -> bool:
    """Return whether both are the same text, list, amount or time; nothing is left out of links."""
    if sealed is None or isinstance(sealed, list):
        return (sealed or []) == (shown or [])
    readers: tuple[Callable[[str], Any], ...] = (Decimal, datetime.fromisoformat)
    for read_as in readers:
        try:
            return bool(read_as(sealed) == read_as(str(shown)))
        except (ArithmeticError, ValueError):
            continue
    return bool(sealed == shown)


def verify(
    links: Iterable[dict[str, Any]], expected: Sequence[str] = ()
) -> tuple[list[str], str, int]:
    """Return (findings, head, number of withheld links).

    expected: heads and links that were kept, as NUMBER:HASH or HASH.
    """
    findings: list[str] = []
    kept = dict(text.split(":") for text in expected if ":" in text)
    hashes = {text for text in expected if ":" not in text}
    previous, number, sealed, withheld = "", 0, "", 0
    for link in links:
        number += 1
        if link["number"] != number:
            findings.append(f"Link {number} is missing.")
            number = link["number"]
        if link["content"] is None:
            withheld += 1
        else:
            found = hashlib.sha256((previous + link["content"]).encode()).hexdigest()
            if found != link["hash"]:
                findings.append(f"Link {number}: its hash does not match its content.")
            content = json.loads(link["content"])
            if content["number"] != number or content["sealed_at"] < sealed:
                findings.append(f"Link {number} is out of order.")
            sealed = content["sealed_at"]
        if kept.pop(str(number), link["hash"]) != link["hash"]:
            findings.append(f"Link {number} has another hash than the one you kept.")
        previous = link["hash"]
        hashes.discard(previous)
    findings += [f"No link has the hash {unknown}, which you kept." for unknown in sorted(hashes)]
    findings += [f"Link {missing}, which you kept, does not exist." for missing in kept]
    return findings, f"{number}:{previous}", withheld


def main() -> int:
    """Verify one feed and print what was found."""
    parser = argparse.ArgumentParser(description="Verify the record of a Fillcast feed.")
    parser.add_argument("base", help="the address of the service")
    parser.add_argument("slug", help="the feed")
    parser.add_argument(
        "--expect", "--head", dest="expect", action="append", default=[], metavar="NUMBER:HASH"
    )
    given = parser.parse_args()
    if sys.version_info < (3, 11):  # noqa: UP036 (it is copied to other machines)
        parser.error("Python 3.11 or newer is needed: older ones cannot read all times")
    base = given.base.rstrip("/")
    links = list(all_links(base, given.slug))
    findings, head, withheld = verify(links, given.expect)
    changed, corrections = verify_results(links, all_trades(base, given.slug))
    findings += changed
    stated = read(f"{base}/api/v1/feeds/{given.slug}/record/head/")["head"]
    if int(stated.split(":")[0]) < int(head.split(":")[0]):
        findings.append(f"The service states {stated} as its head, and there are later links.")
    for finding in (*findings, *corrections):
        print(finding)
    print(f"head {head}, {withheld} links withheld: {'BROKEN' if findings else 'intact'}")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
