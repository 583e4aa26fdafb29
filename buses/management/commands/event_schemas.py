"""manage.py event_schemas: docs/events, from buses/catalogue.py."""

import json
import sys
from pathlib import Path
from typing import Any

import orjson
from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser

from buses.catalogue import CATALOGUE, type_of
from buses.examples import example_of
from buses.schema import schema_of

FOLDER = Path(settings.BASE_DIR) / "docs" / "events"
LEAD = """# Events on buses

`manage.py event_schemas` writes this folder from buses/catalogue.py: the JSON schema of each event
with an example. [Buses](../buses.md) describes how they are delivered. Amounts are decimal text,
times UTC; a field may be added within a version, and one that changes or goes makes a new version.
"""


def files() -> dict[str, str]:
    """Return the files of the folder by their names."""
    found = {}
    page = [LEAD]
    for event in CATALOGUE:
        name, schema = f"{event.type}.v{event.version}", schema_of(event)
        example = orjson.loads(example_of(event).to_json())
        found[f"{name}.schema.json"] = _as_text(schema)
        found[f"{name}.example.json"] = _as_text(example)
        page += [
            f"## {type_of(event)}\n",
            f"{schema['description']}\n",
            f"[Schema]({name}.schema.json) · [example]({name}.example.json)\n",
            "| field | type |\n|---|---|",
            *(
                f"| `{field}` | {_words(what)} |"
                for field, what in schema["properties"]["data"]["properties"].items()
            ),
            "",
        ]
    found["README.md"] = "\n".join(page).rstrip() + "\n"
    return found


def _as_text(document: Any) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _words(what: dict[str, Any]) -> str:
    if "enum" in what:
        return ", ".join("null" if one is None else f"`{one}`" for one in what["enum"])
    kinds = what["type"] if isinstance(what["type"], list) else [what["type"]]
    word = kinds[0]
    if "pattern" in what:
        word = "decimal text"
    elif "format" in what:
        word = what["format"]
    return " or ".join([word, *kinds[1:]])


class Command(BaseCommand):
    """`manage.py event_schemas [--check]`."""

    help = "Write docs/events: the schema of each event on buses, with an example."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the arguments."""
        parser.add_argument(
            "--check", action="store_true", help="Write nothing; fail if the folder differs."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Write or compare."""
        wanted = files()
        found = {path.name: path.read_text() for path in FOLDER.glob("*")}
        if not options["check"]:
            FOLDER.mkdir(exist_ok=True)
            for name, text in wanted.items():
                (FOLDER / name).write_text(text)
            for name in set(found) - set(wanted):
                (FOLDER / name).unlink()
            self.stdout.write(f"docs/events: {len(wanted)} files written")
        elif found != wanted:
            self.stderr.write("docs/events differs; run `manage.py event_schemas`.")
            sys.exit(1)
