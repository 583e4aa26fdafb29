"""Pages of the console without what surrounds each of them, for walks over hundreds of pages.

Sidebar, header and scripts are the same on each page and cost more than half of its time; most
middleware does the same for each page, and costs a third of the rest.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.template import Engine
from django.template.loader_tags import ExtendsNode
from django.test import Client, override_settings
from unfold.sites import UnfoldAdminSite

LAYOUTS = {"admin/base.html", "unfold/layouts/base_simple.html"}
BARE = """
{% include "unfold/helpers/messages.html" %}
{% block content %}{% block object-tools %}{% endblock %}{{ content }}{% endblock %}
{% block sidebar %}{% endblock %}
"""


NEEDED = [  # by views
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
]


@contextmanager
def bare_requests(client: Client) -> Iterator[None]:
    """Lead a client's requests to the views past other middleware. Open one page without this."""
    with override_settings(MIDDLEWARE=NEEDED):
        client.handler.load_middleware()
    yield
    client.handler.load_middleware()


@contextmanager
def bare_layout() -> Iterator[None]:
    """Show the content of pages alone. Look at one page as each role without this."""
    bare = Engine.get_default().from_string(BARE)
    find = ExtendsNode.find_template

    def found(node: Any, name: str, context: Any) -> Any:
        return bare if name in LAYOUTS else find(node, name, context)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ExtendsNode, "find_template", found)
        patch.setattr(UnfoldAdminSite, "get_sidebar_list", lambda *_: [])
        yield
