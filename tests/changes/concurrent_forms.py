"""Two requests that change one row, made to meet: both have read it before either may write."""

import threading
from collections.abc import Callable, Sequence
from html.parser import HTMLParser
from typing import Any

from django.db import connection, transaction
from django.db.models import Model

from tests.lock_waits import sessions_waiting
from tests.until import until

SECONDS = 60.0


def at_once(
    row: Model, *acts: Callable[[], Any], holder: Callable[[], Any] | None = None
) -> list[Any]:
    """Hold a row until each act waits for it or is done; let go, and return what each answered.

    What waits for the row has read what it will. An act that raised is its exception.
    holder: what the session that holds the row does before it lets go.
    """
    answers: list[Any] = [None] * len(acts)

    def run(number: int, act: Callable[[], Any]) -> None:
        try:
            answers[number] = act()
        except Exception as error:
            answers[number] = error
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=pair) for pair in enumerate(acts)]
    with transaction.atomic():
        list(type(row)._default_manager.select_for_update(of=("self",)).filter(pk=row.pk))
        for thread in threads:
            thread.start()
        wait_until_they_wait(threads)
        if holder is not None:
            holder()
    for thread in threads:
        thread.join(SECONDS)
    assert not any(thread.is_alive() for thread in threads), "a request hangs"
    return answers


def wait_until_they_wait(threads: Sequence[threading.Thread]) -> None:
    """Return once each of these threads is done or waits for a lock."""
    until(
        lambda: sessions_waiting() >= sum(thread.is_alive() for thread in threads),
        "the requests neither ended nor waited for the row",
    )


class _Fields(HTMLParser):
    """The fields of a page's forms, as a browser would send them."""

    def __init__(self) -> None:
        super().__init__()
        self.data: dict[str, list[str]] = {}
        self._select = self._area = ""
        self._text: list[str] = []
        self._first: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        name, value = attributes.get("name") or "", attributes.get("value") or ""
        if tag == "input" and name and "disabled" not in attributes:
            kind = attributes.get("type", "text")
            if kind in ("checkbox", "radio"):
                if "checked" in attributes:
                    self._add(name, attributes.get("value") or "on")
            elif kind not in ("submit", "button", "file"):
                self._add(name, value)
        elif tag == "select":
            self._select, self._first, self._multiple = name, None, "multiple" in attributes
        elif tag == "option" and self._select:
            self._first = value if self._first is None else self._first
            if "selected" in attributes:
                self._add(self._select, value)
        elif tag == "textarea":
            self._area, self._text = name, []

    def handle_data(self, data: str) -> None:
        if self._area:
            self._text.append(data)

    def handle_endtag(self, tag: str) -> None:
        if tag == "textarea" and self._area:
            self._add(self._area, "".join(self._text).removeprefix("\r").removeprefix("\n"))
            self._area = ""
        elif tag == "select" and self._select:
            if self._select not in self.data and self._first is not None and not self._multiple:
                self._add(self._select, self._first)
            self._select = ""

    def _add(self, name: str, value: str) -> None:
        self.data.setdefault(name, []).append(value)


def fields_of(html: str) -> dict[str, list[str]]:
    """Return what a browser would send of a page's forms, if nothing was typed."""
    parser = _Fields()
    parser.feed(html)
    return {name: parser.data[name] for name in parser.data if name != "csrfmiddlewaretoken"}
