"""Pages of the console without what surrounds each of them, for walks over hundreds of pages.

Sidebar, header and scripts are the same on each page and cost more than half of its time.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.template import Engine
from django.template.loader_tags import ExtendsNode
from unfold.sites import UnfoldAdminSite

LAYOUTS = {"admin/base.html", "unfold/layouts/base_simple.html"}
BARE = """
{% include "unfold/helpers/messages.html" %}
{% block content %}{% block object-tools %}{% endblock %}{{ content }}{% endblock %}
{% block sidebar %}{% endblock %}
"""


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
