"""`python -m config.old_variables [FILE]`: the settings that variables of an earlier release mean.

It reads nothing but them, needs no packages, and runs although no process of ours starts with them.
"""

import json
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from common.operational.kinds import QUOTA_NUMBERS, Kind
from common.operational.reading import KEYS, InvalidDocumentError, read
from config.moved_settings import MOVED

USAGE = """\
python -m config.old_variables [FILE]

Prints the operational settings, as JSON, that replace environment variables of an earlier release:
those of this process, or of a file with lines NAME=value (- is standard input). Nothing is changed.
Name what it prints in FILLCAST_SETTINGS_SOURCE, then remove the variables: docs/upgrades.md."""
_LINE = re.compile(
    r"(?:export\s+)?([A-Z][A-Z0-9_]*)\s*=\s*(?:'([^']*)'|\"([^\"]*)\"|(.*?))(?:\s+#.*)?"
)
_SWITCH = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}


def document_of(environ: Mapping[str, str]) -> dict[str, Any]:
    """Return the settings of the variables that are set. Raises ValueError with every fault."""
    found: dict[str, Any] = {}
    faults = []
    for name, path in MOVED.items():
        if not (text := environ.get(name, "").strip()):
            continue
        key = KEYS[path]
        try:
            value = key.kind.write(key.kind.read(_as_json(text, key.kind)))
        except (ValueError, TypeError, KeyError):
            faults.append(f"{name} is {text!r}; {path} may be {key.kind.expected}.")
        else:
            found.setdefault(key.group, {})[key.name] = value
    if not faults:
        try:
            read(found)
        except InvalidDocumentError as error:
            faults = list(map(str, error.faults))
    if faults:
        raise ValueError("\n".join(faults))
    return found


def _as_json(text: str, kind: Kind) -> Any:
    """Return the text of a variable as a document has it."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if kind is QUOTA_NUMBERS:
        pairs = [part.partition("=")[::2] for part in parts]
        if len(dict(pairs)) < len(pairs):
            raise ValueError(text)
        return {name.strip(): number.strip() for name, number in pairs}
    if kind.is_switch:
        return _SWITCH[text.lower()]
    return parts if kind.is_list else text


def variables_in(text: str) -> dict[str, str]:
    """Return the variables of a file of lines NAME=value."""
    found = {}
    for line in text.splitlines():
        if match := _LINE.fullmatch(line.strip()):
            found[match[1]] = next((one for one in match.groups()[1:] if one is not None), "")
    return found


def main(arguments: list[str]) -> None:
    """Print the document of the variables that are set."""
    if len(arguments) > 1 or any(one != "-" and one.startswith("-") for one in arguments):
        sys.exit(USAGE)
    try:
        environ: Mapping[str, str] = os.environ
        if arguments:
            is_input = arguments[0] == "-"
            environ = variables_in(
                sys.stdin.read() if is_input else Path(arguments[0]).read_text(encoding="utf-8")
            )
        document = document_of(environ)
    except OSError as error:
        sys.exit(f"{arguments[0]} cannot be read: {error}.")
    except ValueError as error:  # also text that is not UTF-8
        sys.exit(f"Correct these first; nothing is printed:\n{error}".replace("\n", "\n  "))
    names = [name for name in MOVED if environ.get(name, "").strip()]
    print(json.dumps(document))
    print(f"{len(names)} variables: {', '.join(names) or 'none is set'}.", file=sys.stderr)


if __name__ == "__main__":
    main(sys.argv[1:])
