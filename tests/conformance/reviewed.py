"""The reviewed reasons why checks do not apply to a stage: none becomes n/a unnoticed.

`python -m tests.conformance --review` writes reviewed.json again: read what changed in it.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from conformance.registry import ConformanceCheck
from conformance.report import Reasons, markdown
from tests.conformance.stages import EXAMPLE, OURS, names_of, reviewed_in

DOCS = Path(__file__).parents[2] / "docs" / "conformance.md"
MARK = "<!-- generated below by `make docs` -->\n"
DOCUMENTED = (OURS, EXAMPLE / "tiny_broker" / "conformance" / "reviewed.json")


def reviewed(kind: str) -> Reasons:
    """Return the checks that do not apply, with the reason, by stage of a broker type."""
    return _read(reviewed_in(kind))


def _read(path: Path) -> dict[str, dict[str, str]]:
    reasons: dict[str, dict[str, str]] = json.loads(path.read_text()) if path.exists() else {}
    return reasons


def review(kind: str, results: Reasons, chosen: Sequence[ConformanceCheck]) -> None:
    """Store which checks did not apply in a run. Checks and stages that did not run are kept,
    except a package's stages that no longer exist."""
    path = reviewed_in(kind)
    rerun, known = {check.number for check in chosen}, _read(path)
    if path != OURS:
        known = {name: reasons for name, reasons in known.items() if name in names_of(kind)}
    for name, reasons in results.items():
        kept = {n: why for n, why in known.get(name, {}).items() if n not in rerun}
        merged = {**kept, **reasons}
        known[name] = {n: merged[n] for n in sorted(merged, key=lambda n: int(n[1:]))}
    path.write_text(json.dumps(known, indent=1, ensure_ascii=False) + "\n")


def differences(kind: str, results: Reasons, chosen: Sequence[ConformanceCheck]) -> list[str]:
    """Return where a run differs from the review: another reason, or a check that now applies. For
    a stage without a review: all that does not apply, by reason."""
    numbers, differing = [check.number for check in chosen], []
    for name, reasons in results.items():
        known = reviewed(kind).get(name)
        if known is None:
            differing += [
                f"{name} {numbers_text}: {why}" for why, numbers_text in _by_reason(reasons).items()
            ]
            continue
        for number in numbers:
            now, before = reasons.get(number, "it applies"), known.get(number, "it applies")
            if now != before:
                differing.append(f"{name} {number}: {now}; reviewed: {before}")
    return differing


def _by_reason(reasons: Mapping[str, str]) -> dict[str, str]:
    """Return check numbers by the reason why they do not apply, in the order of their report."""
    by_reason: dict[str, list[str]] = {}
    for number, why in reasons.items():
        by_reason.setdefault(why, []).append(number)
    return {why: ", ".join(numbers) for why, numbers in by_reason.items()}


def page(chosen: Sequence[ConformanceCheck]) -> str:
    """Return the text of the documentation page."""
    written, mark, _ = DOCS.read_text().partition(MARK)
    known = {name: reasons for path in DOCUMENTED for name, reasons in _read(path).items()}
    return f"{written}{mark}\n{markdown(chosen, known)}\n"
