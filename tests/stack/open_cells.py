"""Addresses that are neither a page of portal or console nor an operation of the API."""

from collections.abc import Iterator

from tests.stack.asking import CALLERS, FORM, Cell
from tests.stack.running_stack import METRICS_TOKEN

# By the name of an address, or by its pattern if it has none: a path, and what GET and POST find.
OPEN = {
    "healthz": ("/healthz", "200", "200 403"),
    "readyz": ("/readyz", "200", "200 403"),
    "metrics": ("/metrics", "404", "404"),
    "console_sign_in": ("/admin/login/", "200 302", "200"),
    "schema": ("/api/v1/schema/", "200", "405"),
    "docs": ("/api/v1/docs/", "200", "405"),
    "^(?:api|hooks)(?:/[\\s\\S]*)?\\Z": ("/api/v1/no-such-thing/", "404", "404"),
    "(?P<url>.*)$": ("/admin/no-such-page/", "", ""),
    "no address": ("/no-such-page/", "404", "404"),
}


def cells() -> Iterator[Cell]:
    """Yield the requests of each address."""
    for name, (path, gets, posts) in OPEN.items():
        for caller in CALLERS:
            for method in ("GET", "HEAD"):
                yield Cell(name, caller, method, path, frozenset(gets.split()))
            yield Cell(name, caller, "POST", path, frozenset(posts.split()), None, FORM)
    for caller in CALLERS:
        yield Cell(
            "metrics with their token", caller, "GET", "/metrics", frozenset(["200"]),
            authorization=f"Bearer {METRICS_TOKEN}",
        )  # fmt: skip
