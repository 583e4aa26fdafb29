"""What does not apply to whom and why, as somebody has looked at it: nothing turns n/a by itself.

`python -m tests.conformance --review` writes reviewed.json anew: read what changed in it.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from conformance.registry import Case
from conformance.report import Reasons, markdown
from tests.conformance.stages import EXAMPLE, OURS, names_of, reviewed_in

DOCS = Path(__file__).parents[2] / "docs" / "conformance.md"
MARK = "<!-- generated below by `make docs` -->\n"
DOCUMENTED = (OURS, EXAMPLE / "tiny_broker" / "conformance" / "reviewed.json")


def reviewed(kind: str) -> Reasons:
    """By stage of a kind, numbers of the checks that do not apply, and why."""
    return _read(reviewed_in(kind))


def _read(place: Path) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = json.loads(place.read_text()) if place.exists() else {}
    return found


def review(kind: str, found: Reasons, chosen: Sequence[Case]) -> None:
    """Write down what a run has found not to apply; what did not take part stays, but for a
    package's stages that it has no more."""
    place = reviewed_in(kind)
    again, known = {one.number for one in chosen}, _read(place)
    if place != OURS:
        known = {name: reasons for name, reasons in known.items() if name in names_of(kind)}
    for name, reasons in found.items():
        stays = {n: why for n, why in known.get(name, {}).items() if n not in again}
        both = {**stays, **reasons}
        known[name] = {n: both[n] for n in sorted(both, key=lambda n: int(n[1:]))}
    place.write_text(json.dumps(known, indent=1, ensure_ascii=False) + "\n")


def differences(kind: str, found: Reasons, chosen: Sequence[Case]) -> list[str]:
    """What does not apply for another reason than was reviewed, or was reviewed and does apply; of
    a stage that nobody has reviewed all that does not apply, by reason."""
    numbers, told = [one.number for one in chosen], []
    for name, reasons in found.items():
        known = reviewed(kind).get(name)
        if known is None:
            told += [f"{name} {which}: {why}" for why, which in _by_reason(reasons).items()]
            continue
        for number in numbers:
            now, before = reasons.get(number, "it applies"), known.get(number, "it applies")
            if now != before:
                told.append(f"{name} {number}: {now}; reviewed: {before}")
    return told


def _by_reason(reasons: Mapping[str, str]) -> dict[str, str]:
    """Numbers with commas by why they do not apply, in the order in which they were told."""
    found: dict[str, list[str]] = {}
    for number, why in reasons.items():
        found.setdefault(why, []).append(number)
    return {why: ", ".join(numbers) for why, numbers in found.items()}


def page(chosen: Sequence[Case]) -> str:
    """The page of the documentation as it should be."""
    written, mark, _ = DOCS.read_text().partition(MARK)
    known = {name: reasons for place in DOCUMENTED for name, reasons in _read(place).items()}
    return f"{written}{mark}\n{markdown(chosen, known)}\n"
