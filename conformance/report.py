"""Formats results: for a terminal, for programs and for the documentation."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from string import ascii_uppercase

from conformance.registry import ConformanceCheck
from conformance.runner import Mark, Result

Reasons = Mapping[str, Mapping[str, str]]
"""By adapter: why a check does not apply, by the check's number."""


def line(result: Result) -> str:
    """Return the line of a result in a run's table."""
    text = f"{result.number:<5} {result.mark:<5} {result.milliseconds:6.0f} ms  {result.name}"
    return f"{text}: {result.why}" if result.why else text


def summary(results: Sequence[Result]) -> str:
    """Return the number of results by mark."""
    found = Counter(result.mark for result in results)
    return ", ".join(f"{found[mark]} {mark}" for mark in Mark)


def grid(adapters: Mapping[str, Sequence[Result]]) -> str:
    """Return a table of marks, check by adapter, for a terminal."""
    rows: dict[str, list[str]] = {}
    for results in adapters.values():
        for one in results:
            rows.setdefault(f"{one.number:<5} {one.name}", []).append(one.mark)
    first = max(map(len, rows), default=0)
    widths = [max(len(name), 4) for name in adapters]
    head = [name.ljust(width) for name, width in zip(adapters, widths, strict=True)]
    lines = [f"{'':<{first}}  {'  '.join(head)}".rstrip()]
    for text, marks in rows.items():
        cells = [mark.ljust(width) for mark, width in zip(marks, widths, strict=True)]
        lines.append(f"{text:<{first}}  {'  '.join(cells)}".rstrip())
    return "\n".join(lines)


def as_json(adapters: Mapping[str, Sequence[Result]]) -> str:
    """Return one line of JSON: totals, and the failures by adapter and number."""
    found = Counter(result.mark for results in adapters.values() for result in results)
    failed = {
        name: {one.number: one.why for one in results if one.mark is Mark.FAIL}
        for name, results in adapters.items()
    }
    return json.dumps(
        {
            "ok": found[Mark.OK],
            "fail": found[Mark.FAIL],
            "not_applicable": found[Mark.NOT_APPLICABLE],
            "adapters": list(adapters),
            "failed": {name: what for name, what in failed.items() if what},
        }
    )


def markdown(chosen: Sequence[ConformanceCheck], reasons: Reasons) -> str:
    """Return a line for each check with where it does not apply, by letters and a reason's number.

    A check applies everywhere else. Each reason is listed once.
    """
    letters = dict(zip(reasons, ascii_uppercase, strict=False))
    numbers: dict[str, int] = {}
    rows = ["| | what it shows | not at |", "| --- | --- | --- |"]
    for one in chosen:
        at: dict[int, str] = {}
        for name, of in reasons.items():
            if one.number in of:
                why = numbers.setdefault(of[one.number], len(numbers) + 1)
                at[why] = at.get(why, "") + letters[name]
        cell = ", ".join(f"{stages} ({why})" for why, stages in at.items())
        rows.append(f"| {one.number} | *{one.name}*: {one.description} | {cell} |")
    return "\n".join(
        [
            ", ".join(f"**{letter}** {name}" for name, letter in letters.items()),
            "",
            *rows,
            "",
            "Why a check does not apply:",
            "",
            *(f"{number}. {why}" for why, number in numbers.items()),
        ]
    )


def reasons_of(adapters: Mapping[str, Sequence[Result]]) -> dict[str, dict[str, str]]:
    """Return the checks that did not apply in a run, and why."""
    return {
        name: {one.number: one.why for one in results if one.mark is Mark.NOT_APPLICABLE}
        for name, results in adapters.items()
    }
