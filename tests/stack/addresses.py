"""All addresses of config/urls.py, and those that no request is known for."""

import re
from collections.abc import Iterable, Iterator
from typing import Any

from django.urls import URLResolver, get_resolver

from tests.api.schemas import schema
from tests.console.role_matrix import LISTS
from tests.console.role_matrix import PAGES as CONSOLE_PAGES
from tests.portal.role_matrix import PAGES as PORTAL_PAGES
from tests.stack.console_cells import FORMS
from tests.stack.open_cells import OPEN
from tests.users.endpoints import template_of

PARAMETER = re.compile(r"%\(\w+\)s|\{\w+\}")


def _all(resolver: Any, parts: tuple[Any, ...], spaces: str) -> Iterator[tuple[str, str]]:
    for one in resolver.url_patterns:
        there = (*parts, one.pattern)
        if isinstance(one, URLResolver):
            yield from _all(one, there, f"{one.namespace}:" if one.namespace else spaces)
        else:
            template = template_of(there)
            path = PARAMETER.sub("{}", template[0]) if template else ""
            yield f"{spaces}{one.name}" if one.name else str(one.pattern), path


def unknown() -> list[str]:
    """Return the names of the addresses that no test of this folder asks."""
    lists = {f"admin:{name.replace('.', '_')}_{kind}" for name in LISTS for kind in FORMS}
    names = {*PORTAL_PAGES, *OPEN, *(f"admin:{name}" for name in CONSOLE_PAGES), *lists}
    objects = {f"/admin/{name.replace('.', '/')}/{{}}/" for name in LISTS}
    paths = {PARAMETER.sub("{}", path) for path in schema()["paths"]} | objects
    found: Iterable[tuple[str, str]] = _all(get_resolver(), (), "")
    return sorted({name for name, path in found if name not in names and path not in paths})
