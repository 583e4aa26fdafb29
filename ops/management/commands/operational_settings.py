"""`manage.py operational_settings`: show, import, export and restore what changes while it runs."""

import json
import sys
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser

from common.errors import FillcastError
from common.models import SettingsVersion
from common.operational import current, store
from common.operational.reading import (
    InvalidDocumentError,
    Json,
    differences,
    dump,
    parse,
)
from common.operational.store import faults_as_error
from common.process.commands import HelpedCommand, fault_text

HELP = """\
Operational settings: they change while Fillcast runs, without a restart.

  manage.py operational_settings show                     what is in force, and since when
  manage.py operational_settings check FILE               what a document would change; - is
                                                          standard input
  manage.py operational_settings import FILE --why TEXT   store it as a version
  manage.py operational_settings set execution.poll_seconds=1 --why TEXT
  manage.py operational_settings export                   the document, for an import
  manage.py operational_settings history                  the versions, newest first
  manage.py operational_settings restore 12               store version 12 again; 0: the defaults

A document names the settings that it changes; all others stay. If anything of it is invalid,
nothing changes, and each fault is reported with its path. Every process uses a new version within
two seconds. docs/operational-settings.md lists the settings.

The last line on standard output is JSON. Exit code 1: refused."""


class Command(HelpedCommand):
    """`manage.py operational_settings`."""

    help = HELP

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the actions and their options."""
        actions = parser.add_subparsers(dest="action", required=True)
        actions.add_parser("show")
        actions.add_parser("export")
        actions.add_parser("history")
        actions.add_parser("check").add_argument("file")
        importing = actions.add_parser("import")
        importing.add_argument("file")
        setting = actions.add_parser("set")
        setting.add_argument("settings", nargs="+", metavar="PATH=VALUE")
        for one in (importing, setting):
            one.add_argument("--why", required=True)
        actions.add_parser("restore").add_argument("number", type=int)

    def handle(self, *args: Any, action: str, **options: Any) -> None:
        """Do what was asked."""
        try:
            self.stdout.write(json.dumps(getattr(self, f"_{action}")(**options), default=str))
        except InvalidDocumentError as error:
            raise CommandError("\n".join(map(fault_text, faults_as_error(error.faults)))) from None
        except FillcastError as error:
            raise CommandError(fault_text(error)) from None

    def _show(self, **_: Any) -> Json:
        found = current.in_force()
        for fault in found.faults:
            self.stderr.write(f"Version {found.seen.number} is invalid. {fault}")
        return {
            "version": found.number,
            "newest": found.seen.number,
            "faults": list(map(str, found.faults)),
            "document": dump(found.document),
        }

    def _export(self, **_: Any) -> Json:
        return dump(current.in_force().document)

    def _history(self, **_: Any) -> Json:
        versions = SettingsVersion.objects.order_by("-pk")[:100]
        for one in versions:
            who = one.username or "a process"
            self.stderr.write(f"{one.pk:>5}  {one.made_at:%Y-%m-%d %H:%M:%S}  {who}: {one.why}")
        return {"versions": [one.pk for one in versions]}

    def _check(self, *, file: str, **_: Any) -> Json:
        document, _document = store.check(_document_in(file))
        return self._changes(store.document_of(store.newest()), document)

    def _import(self, *, file: str, why: str, **_: Any) -> Json:
        return self._save(_document_in(file), why)

    def _set(self, *, settings: list[str], why: str, **_: Any) -> Json:
        changes: Json = {}
        for one in settings:
            path, is_given, text = one.partition("=")
            group, _dot, name = path.partition(".")
            if not is_given or not name:
                raise CommandError(f"{one!r} is not PATH=VALUE, such as execution.poll_seconds=1.")
            changes.setdefault(group, {})[name] = _value(text)
        return self._save(changes, why)

    def _restore(self, *, number: int, **_: Any) -> Json:
        before = store.document_of(store.newest())
        version = store.restore(number, by=None, origin=store.Origin.COMMAND)
        return {"version": version.pk, **self._changes(before, version.document)}

    def _save(self, changes: Json, why: str) -> Json:
        newest = store.newest()
        before, base = store.document_of(newest), store.number_of(newest)
        version = store.save(changes, by=None, why=why, origin=store.Origin.COMMAND, base=base)
        if version is None:
            self.stderr.write("Nothing differs from what is in force.")
            return {"version": base, "changes": {}}
        return {"version": version.pk, **self._changes(before, version.document)}

    def _changes(self, before: Json, after: Json) -> Json:
        found = differences(before, after)
        for one in found:
            self.stderr.write(f"{one.path}: {json.dumps(one.before)} → {json.dumps(one.after)}")
        return {"changes": {one.path: one.after for one in found}}


def _document_in(file: str) -> Json:
    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"{file} cannot be read: {error}.") from None
    return parse(text)


def _value(text: str) -> Any:
    """Return a value as JSON; what is no JSON is a text."""
    try:
        return parse(f'{{"value": {text}}}')["value"]
    except InvalidDocumentError:
        return text
