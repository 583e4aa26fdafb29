"""Commands that act on a scope: the options that name it, what they show, and the confirmation."""

import sys
from collections.abc import Iterable
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError, CommandParser

from common.errors import FillcastError
from common.process.commands import raise_faults
from common.web.confirmation import Consequence
from connections.models import ExecutionConnection, KillSwitch
from connections.services import HaltTarget, read_target
from signals.models import Feed
from users.lookups import named

Scope = KillSwitch.Scope
NOT_CONFIRMED = 2  # exit code
NAMES = ("user", "connection", "feed", "symbol", "broker_type")


def add_scope_options(parser: CommandParser) -> None:
    """Add the options, of which at most one may be given."""
    parser.add_argument("--user", help="only this tenant's accounts (user name)")
    parser.add_argument("--connection", type=UUID, help="only this connection (UUID)")
    parser.add_argument("--feed", help="only the trades of this feed (slug)")
    parser.add_argument("--symbol", help="only this symbol, such as EUR/USD")
    parser.add_argument("--broker-type", help="only accounts of this broker type, such as mt5")


def read_scope(options: dict[str, Any]) -> HaltTarget:
    """Return the scope that the options name. Raises CommandError with all faults."""
    given = [name for name in NAMES if options[name] not in (None, "")]
    # An unset variable must not mean everything.
    faults: list[str | FillcastError] = [
        f"{_option(name)} is empty. Leave it out to act on everything."
        for name in NAMES
        if options[name] == ""
    ]
    if len(given) > 1:
        faults.append(f"Give only one of {' and '.join(map(_option, given))}.")
    found = []
    for name in given:
        try:
            found.append(_target(name, options[name]))
        except FillcastError as error:
            faults.append(error)
        except CommandError as error:
            faults.append(str(error))
    raise_faults(faults)
    return found[0] if found else read_target(scope=Scope.ALL)


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _target(name: str, value: Any) -> HaltTarget:
    if name == "connection":
        if not ExecutionConnection.objects.filter(pk=value).exists():
            raise CommandError(f"There is no account {value}.")
        return read_target(scope=Scope.CONNECTION, connection_id=value)
    if name == "symbol":
        return read_target(scope=Scope.SYMBOL, pair=value)
    if name == "broker_type":
        return read_target(scope=Scope.BROKER_TYPE, broker_type=value)
    if name == "feed":
        feed = Feed.objects.filter(slug=value).first()
        if feed is None:
            raise CommandError(f"There is no feed {value!r}.")
        return read_target(scope=Scope.FEED, feed_id=feed.pk)
    user = named(value).first()
    if user is None:
        raise CommandError(f"There is no user {value!r}.")
    return read_target(scope=Scope.USER, user_id=user.pk)


def show(command: BaseCommand, title: str, lines: Iterable[Consequence]) -> None:
    """Print what a command would do, one line each, to standard error."""
    command.stderr.write(title)
    for line in lines:
        command.stderr.write(f"- {line.text}")


def is_confirmed(command: BaseCommand, question: str) -> bool:
    """Ask at a terminal whether to do it; without one it is not confirmed."""
    if not sys.stdin.isatty():
        return False
    command.stderr.write(f"{question} Type yes to do it: ", ending="")
    command.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def not_done(what: str) -> CommandError:
    """Return the error of a command that was not confirmed; its exit code is 2."""
    return CommandError(f"{what} To do it, add --yes.", returncode=NOT_CONFIRMED)
