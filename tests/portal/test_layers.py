"""What import-linter cannot see: templates only take from their own room and from below."""

import re
from pathlib import Path

from django.conf import settings

ROOT = Path(settings.BASE_DIR)


def portal_templates() -> str:
    return "\n".join(path.read_text() for path in (ROOT / "portal/templates").rglob("*.html"))


def test_the_portal_loads_no_tags_of_the_console() -> None:
    loads = re.findall(r"{% load ([^%]+) %}", portal_templates())
    assert {name for load in loads for name in load.split()} == {"static", "fillcast", "portal"}


def test_the_portal_shows_no_file_of_the_console() -> None:
    ours = {
        found.split("/")[0] for found in re.findall(r"{% static '([^']+)' %}", portal_templates())
    }
    assert ours == {"fillcast", "portal", "django_htmx"}
    of_console = {path.name for path in (ROOT / "console/static/fillcast").iterdir()}
    shown = set(re.findall(r"{% static 'fillcast/([^']+)' %}", portal_templates()))
    assert shown.isdisjoint(of_console)
