"""manage.py settings_reference: docs/settings.md and the example files, from the class Settings."""

import sys
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from config.env import SECTIONS, VARIABLES
from config.env_variables import Variable
from config.installation import ROOT
from ops import operational_reference, server_env_example

NOTE = "`manage.py settings_reference` writes this file from config/env.py."


def sections() -> dict[str, list[Variable]]:
    """Return the variables by the title of their section, in the order of the class."""
    found: dict[str, list[Variable]] = {}
    title = ""
    for variable in VARIABLES:
        title = SECTIONS.get(variable.field_name, title)
        found.setdefault(title, []).append(variable)
    return found


def reference() -> str:
    """Return docs/settings.md."""
    lines = ["# Settings", "", NOTE, ""]
    lines += [
        "Each is an environment variable, or a line in `.env`. If one is malformed, Fillcast does",
        "not start and prints what it expected. With `FILLCAST_ENV=production` the same happens if",
        "one is missing that is marked as needed. A development installation needs none.",
        "",
        "All that may change while Fillcast runs is in"
        " [operational settings](operational-settings.md).",
        "`FILLCAST_SECRETS_FOLDER` names a folder of files, each named as the setting that it",
        "holds, as Docker, Kubernetes and systemd provide secrets. A setting may be a file or a",
        "variable, not both.",
    ]
    for title, settings in sections().items():
        lines += ["", f"## {title}", "", "| name | expected | default | |", "|---|---|---|---|"]
        lines += [_row(setting) for setting in settings]
    return "\n".join(lines) + "\n"


def _row(setting: Variable) -> str:
    notes = ["**Needed in production.**"] if setting.required else []
    notes += ["Secret."] if setting.secret else []
    default = f"`{setting.default}`" if setting.default else "–"
    words = " ".join([setting.sentence, *notes])
    return f"| `{setting.name}` | {setting.reader.expected} | {default} | {words} |"


def example() -> str:
    """Return .env.example: every setting, commented out, with its default."""
    lines = [
        f"# {NOTE.replace('`', '')}",
        "# For `make up`: copy to .env; uncomment what should differ. Servers have server.env.",
    ]
    for title, settings in sections().items():
        lines += ["", f"# --- {title}"]
        for setting in settings:
            needed = " Needed in production." if setting.required else ""
            lines += [
                "",
                f"# {setting.sentence}{needed}",
                f"# Expected: {setting.reader.expected}.",
            ]
            lines += [f"#{setting.name}={setting.default}"]
    return "\n".join(lines) + "\n"


class Command(BaseCommand):
    """Write the files, or check that they are up to date."""

    help = "Write docs/settings.md, .env.example and server.env.example from config/env.py."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        parser.add_argument(
            "--check", action="store_true", help="write nothing; fail if a file would change"
        )

    def handle(self, *_args: Any, check: bool, **_options: Any) -> None:
        """Write the files. With --check, exit with code 1 if one would change."""
        files: dict[Path, str] = {
            ROOT / "docs" / "settings.md": reference(),
            ROOT / "docs" / "operational-settings.md": operational_reference.reference(),
            ROOT / ".env.example": example(),
            ROOT / "server.env.example": server_env_example.example(),
        }
        stale = [path for path, text in files.items() if not _holds(path, text)]
        for path in stale:
            name = path.relative_to(ROOT)
            if check:
                self.stderr.write(f"{name} is out of date; run `make docs`")
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(files[path])
                self.stdout.write(f"{name} written")
        sys.exit(1 if check and stale else 0)


def _holds(path: Path, text: str) -> bool:
    return path.exists() and path.read_text() == text
