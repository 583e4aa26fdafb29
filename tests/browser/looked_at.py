"""Which pages of the portal the tests look at: each test declares its own, and is held to it.

A test with `@looks_at("portal:position")` fails unless it opened that page and found it in order.
So what all tests declare can be compared with the pages that there are (test_every_page.py), though
no test knows what the others did.
"""

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from django.urls import Resolver404, resolve

ANSWERS = (200, 422)  # of a page itself; others say that it is not there, or not now
LOOKED_AT: set[str] = set()
"""The names of the pages that the present test has looked at."""


def looks_at(*names: str) -> pytest.MarkDecorator:
    """Declare the pages that a test opens and finds in order, on each of its devices."""
    return pytest.mark.looks_at(*names)


def name_of(path: str) -> str:
    """Return the name of a page's address; '' for what is none of the portal's."""
    try:
        return str(resolve(path).view_name)
    except Resolver404:
        return ""


def note(path: str, status: int) -> None:
    """Note that the present test looks at a page."""
    if status in ANSWERS:
        LOOKED_AT.add(name_of(path))


def declared_by(marks: Any) -> set[str]:
    """Return the names in the marks `looks_at` among these."""
    return {name for mark in marks if mark.name == "looks_at" for name in mark.args}


def declared_on(screen: str) -> set[str]:
    """Return the pages that all tests together declare to look at on a desktop or on a phone."""
    return {name for on, name in _declared() if on == screen}


def _declared() -> Iterator[tuple[str, str]]:
    """Return each declared page with a screen on which its test looks at it."""
    for file in sorted(Path(__file__).parent.glob("test_*.py")):
        for test in vars(import_module(f"tests.browser.{file.stem}")).values():
            marks = getattr(test, "pytestmark", [])
            cases = [mark.args for mark in marks if mark.name == "parametrize"]
            devices: Any = next((values for name, values in cases if name == "device"), [])
            sets = [one for _, values in cases for one in values if hasattr(one, "marks")]
            names = declared_by([*marks, *(mark for one in sets for mark in one.marks)])
            screens = {device.screen for device in devices} or {"desktop"}
            yield from ((screen, name) for screen in screens for name in names)
