"""Layers that import-linter does not check: templates use their own app and those below it."""

import re
from pathlib import Path

from django.conf import settings

ROOT = Path(settings.BASE_DIR)


def portal_templates() -> str:
    return "\n".join(path.read_text() for path in (ROOT / "portal/templates").rglob("*.html"))


def test_portal_loads_no_tags_of_the_console() -> None:
    loads = re.findall(r"{% load ([^%]+) %}", portal_templates())
    assert {name for load in loads for name in load.split()} == {"static", "fillcast", "portal"}


def test_portal_uses_no_static_files_of_the_console() -> None:
    folders = {
        path.split("/")[0] for path in re.findall(r"{% static '([^']+)' %}", portal_templates())
    }
    assert folders == {"fillcast", "portal", "django_htmx"}
    console_files = {path.name for path in (ROOT / "console/static/fillcast").iterdir()}
    portal_files = set(re.findall(r"{% static 'fillcast/([^']+)' %}", portal_templates()))
    assert portal_files.isdisjoint(console_files)
