"""What does not apply to whom and why, as somebody has looked at it: nothing turns n/a by itself.

`python -m tests.conformance --review` writes reviewed.json anew: read what changed in it.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from brokers.conformance.case import Case
from brokers.conformance.table import Reasons, markdown

PLACE = Path(__file__).with_name("reviewed.json")
DOCS = Path(__file__).parents[2] / "docs" / "conformance.md"
MARK = "<!-- generated below by `make docs` -->\n"


def reviewed() -> dict[str, dict[str, str]]:
    """By adapter: numbers of the checks that do not apply, and why."""
    found: dict[str, dict[str, str]] = json.loads(PLACE.read_text())
    return found


def review(found: Reasons, chosen: Sequence[Case]) -> None:
    """Write down what a run has found not to apply; what did not take part stays."""
    again, known = {one.number for one in chosen}, reviewed()
    for name, reasons in found.items():
        stays = {n: why for n, why in known.get(name, {}).items() if n not in again}
        both = {**stays, **reasons}
        known[name] = {n: both[n] for n in sorted(both, key=lambda n: int(n[1:]))}
    PLACE.write_text(json.dumps(known, indent=1, ensure_ascii=False) + "\n")


def page(chosen: Sequence[Case]) -> str:
    """The page of the documentation as it should be."""
    written, mark, _ = DOCS.read_text().partition(MARK)
    return f"{written}{mark}\n{markdown(chosen, reviewed())}\n"
