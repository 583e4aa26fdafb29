"""What the demo calls shown: a run in which nothing happened is none."""

from typing import Any

import pytest

from demo.report import _verdict
from demo.results import Results


def figures(**audit: Any) -> Results:
    well = {"ok": True, "signals": 1, "candidates": 3, "counters": {"DUP": 0}, "unread": []}
    return Results([], [], [], [], [], None, None, {**well, **audit})


def test_it_holds() -> None:
    assert figures().as_dict()["ok"] is True
    assert "holds" in _verdict(figures())


@pytest.mark.parametrize(
    ("audit", "why"),
    [
        ({"signals": 0}, "nothing was published"),
        ({"unread": ["paper"]}, "the books of paper could not be read"),
        ({"ok": False, "counters": {"DUP": 2}}, "DUP 2"),
    ],
)
def test_it_does_not_hold(audit: dict[str, Any], why: str) -> None:
    told = figures(**audit)
    assert told.as_dict()["ok"] is False
    assert "does not hold" in _verdict(told)
    assert why in _verdict(told)
