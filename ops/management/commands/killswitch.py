"""`manage.py killswitch`: set, release, list and drill the kill switch."""

import argparse
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any
from uuid import UUID

from django.core.management.base import CommandError, CommandParser
from django.db import transaction

from analytics.orders.halt_texts import halt_lines
from common.errors import FillcastError
from common.money import plain
from common.process.commands import HelpedCommand, fault_text, raise_faults
from config.installation import ROOT
from connections import services
from connections.models import ExecutionConnection, HaltMode, KillSwitch
from execution import tasks
from execution.management.scope_options import is_confirmed, not_done, show
from execution.services import HaltImpact, halt_impact
from ops.kill_switch_drill import ACCOUNTS, BAR_SECONDS, DrillError, clean_up, run_drill
from signals.models import Feed
from users.lookups import named

HELP = f"""\
Halt trading, and allow it again. REDUCING lets only exits through, HALTED nothing.

  manage.py killswitch list                                    what is halted now
  manage.py killswitch set --reason "bad prices"               show what a halt of all entries
                                                               touches, then ask
  manage.py killswitch set --reason "bad prices" --yes         halt them without a question,
                                                               then show what it touches
  manage.py killswitch set --scope SYMBOL --name EUR/USD --mode HALTED --reason r --yes
  manage.py killswitch set --scope BROKER_TYPE --name mt5 --reason r --flatten --yes
  manage.py killswitch release 12                              allow trading again
  manage.py killswitch drill                                   measure it on paper accounts

--name: the broker type, the symbol, the feed's slug, the user's name or the connection's ID.
--cancel-entries cancels the entries that have not filled, also those that wait for a trigger or a
condition, and later slices; --flatten closes the open positions, with REDUCING only. Without --yes
it asks at a terminal, and elsewhere changes nothing and ends with exit code 2. After a release,
skipped signals and denied entries are not executed later.

drill opens paper accounts of its own, queues orders on them, halts these accounts, and measures how
long until the last order was stopped; the bar is {BAR_SECONDS:g} s for 1,000 orders. No other
account is halted, and you need none. It needs running workers and takes some ten seconds. Then it
closes what was filled, releases its halt and removes the accounts, also if you interrupt it. If it
is killed, a process beside it does that, or `drill --clean-up`. Exit code 1: the bar was missed.

The last line on standard output is JSON."""

SCOPES = KillSwitch.Scope.values
CLEAN_UP_SECONDS = 10


class Command(HelpedCommand):
    """`manage.py killswitch`."""

    help = HELP

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the actions and their options."""
        actions = parser.add_subparsers(dest="action", required=True)
        actions.add_parser("list", help="show the halts that are set")
        setting = actions.add_parser("set", help="halt trading")
        setting.add_argument("--scope", choices=SCOPES, default=KillSwitch.Scope.ALL.value)
        setting.add_argument("--name", default="", help="which one; empty for ALL")
        setting.add_argument(
            "--mode", choices=HaltMode.values, default=HaltMode.REDUCING.value,
            help="default: REDUCING",
        )  # fmt: skip
        setting.add_argument("--reason", required=True, help="everyone affected sees it")
        setting.add_argument("--cancel-entries", action="store_true")
        setting.add_argument("--flatten", action="store_true", help="close open positions")
        setting.add_argument("--yes", action="store_true", help="set it without a question")
        releasing = actions.add_parser("release", help="allow trading again")
        releasing.add_argument("id", type=int, help="the number that `list` shows")
        drill = actions.add_parser("drill", help="measure how fast a halt stops queued orders")
        drill.add_argument("--orders", type=int, default=1000, help="default: 1000")
        drill.add_argument(
            "--accounts", type=int, default=ACCOUNTS, help=f"paper accounts (default: {ACCOUNTS})"
        )
        drill.add_argument(
            "--clean-up", action="store_true", help="only remove what a killed drill left"
        )
        drill.add_argument("--when-killed", action="store_true", help=argparse.SUPPRESS)

    def handle(self, *args: Any, action: str, **options: Any) -> None:
        """Run the action and print its result."""
        try:
            result = {"list": _list, "set": self._set, "release": _release, "drill": self._drill}[
                action
            ](options)
        except FillcastError as error:
            raise CommandError(fault_text(error)) from error
        except DrillError as error:
            raise CommandError(str(error)) from error
        self.stdout.write(json.dumps(result))
        if not result.get("ok", True):
            raise CommandError("The kill switch was too slow.")

    def _set(self, options: dict[str, Any]) -> dict[str, Any]:
        values = {name: options[name] for name in ("scope", "mode", "flatten")}
        try:
            target = _target(options["scope"], options["name"])
        except CommandError as error:
            faults = services.halt_errors(**{**values, "scope": None})
            raise_faults([str(error), *faults])
        raise_faults(services.halt_errors(**values, **target))
        others = {name: options[name] for name in ("reason", "cancel_entries")}
        halt = {**values, **others, **target}
        if options["yes"]:  # nothing is counted before: each second counts
            switch = self._halt(halt)
            impact = halt_impact(switch)
            self._show(impact, options, "It touches:")
            return {"id": switch.pk, **_as_json(impact)}
        impact = halt_impact(services.halt_target(by=None, **halt))
        self._show(impact, options, "It touches now:")
        if not is_confirmed(self, "Set this halt?"):
            self.stdout.write(json.dumps({"id": None, **_as_json(impact)}))
            raise not_done("Nothing was halted.")
        return {"id": self._halt(halt).pk, **_as_json(impact)}

    def _halt(self, halt: dict[str, Any]) -> KillSwitch:
        """Set the halt, and print how to release it."""
        with transaction.atomic():
            switch = services.set_kill_switch(by=None, **halt)
            tasks.enqueue_halt_actions_on_commit(switch)
        self.stderr.write(
            f"Halt {switch.pk} is set. To allow trading again: manage.py killswitch release"
            f" {switch.pk}"
        )
        return switch

    def _show(self, impact: HaltImpact, options: dict[str, Any], touches: str) -> None:
        """Print what the halt touches, in the words of the console's page."""
        name = f" {options['name']}" if options["name"] else ""
        mode = HaltMode(options["mode"]).label.lower()
        lines = halt_lines(
            impact, mode=options["mode"], cancels=options["cancel_entries"],
            flattens=options["flatten"],
        )  # fmt: skip
        show(self, f"Halt of {options['scope']}{name}, {mode}. {touches}", lines)

    def _drill(self, options: dict[str, Any]) -> dict[str, Any]:
        if min(options["orders"], options["accounts"]) < 1:
            raise CommandError("--orders and --accounts must be at least 1.")
        if options["clean_up"]:
            if options["when_killed"]:
                sys.stdin.read()  # ends with the drill's process, however that ends
            return {"cleaned_up": _clean_up()}
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that it cleans up
        try:
            with _watched():
                result = run_drill(
                    options["orders"], self.stderr.write, accounts=options["accounts"]
                )
        except KeyboardInterrupt as error:
            done = "Interrupted. The halt was released and the accounts were removed."
            raise CommandError(done, returncode=130) from error
        flatten = result.flatten_seconds
        if flatten is None:
            self.stderr.write("Not everything was closed in time; see `manage.py doctor`.")
        elif result.is_within_bar:
            self.stderr.write(f"Passed: the bar is {BAR_SECONDS:g} s.")
        seconds = {
            "seconds": round(result.seconds, 4),
            "last_sent_seconds": round(result.last_sent_seconds, 4),
            "flatten_seconds": flatten and round(flatten, 4),
        }
        return {"ok": result.is_within_bar, **asdict(result), **seconds, "bar": BAR_SECONDS}


@contextmanager
def _watched() -> Iterator[None]:
    """Have another process clean up if this one is killed meanwhile.

    It waits for the end of its standard input, which also a killed process closes.
    """
    command = (sys.executable, "-m", "django", "killswitch", "drill", "--clean-up", "--when-killed")
    watcher = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        cwd=ROOT, start_new_session=True,
    )  # fmt: skip
    assert watcher.stdin is not None
    is_clean = False
    try:
        yield
        is_clean = True
    finally:
        if is_clean:
            watcher.kill()
            watcher.communicate()
        else:
            watcher.stdin.close()  # it makes up for a clean-up that has failed


def _clean_up() -> bool:
    """Clean up; try again while the killed process still has the lock. Raises DrillError."""
    end = time.monotonic() + CLEAN_UP_SECONDS
    while True:
        try:
            return clean_up()
        except DrillError:
            if time.monotonic() > end:
                raise
        time.sleep(0.2)


def _list(options: dict[str, Any]) -> dict[str, Any]:
    found = KillSwitch.objects.filter(released_at=None).order_by("pk")
    names = (
        "id", "scope", "mode", "feed__slug", "user__username", "connection", "broker_type", "pair",
        "reason", "cancel_entries", "flatten",
    )  # fmt: skip
    halts = [
        {name.partition("__")[0]: str(value) if name == "connection" else value
         for name, value in row.items() if value not in (None, "")}
        for row in found.values(*names)
    ]  # fmt: skip
    return {"halts": halts}


def _release(options: dict[str, Any]) -> dict[str, Any]:
    try:
        return {"released": services.release_kill_switch(options["id"], by=None)}
    except KillSwitch.DoesNotExist as error:
        raise CommandError(f"There is no halt {options['id']}; see `killswitch list`.") from error


def _target(scope: str, name: str) -> dict[str, Any]:
    """Return the keyword arguments that name the target. Raises CommandError."""
    if scope != KillSwitch.Scope.ALL and not name:
        raise CommandError(f"--scope {scope} needs --name: what is halted.")
    if scope == KillSwitch.Scope.BROKER_TYPE:
        return {"broker_type": name}
    if scope == KillSwitch.Scope.SYMBOL:
        return {"pair": name}
    if scope == KillSwitch.Scope.CONNECTION:
        try:
            connection_id = UUID(name)
        except ValueError as error:
            raise CommandError("--name must be the connection's ID, a UUID.") from error
        if not ExecutionConnection.objects.filter(pk=connection_id).exists():
            raise CommandError(f"There is no account {name}.")
        return {"connection_id": connection_id}
    if scope == KillSwitch.Scope.FEED:
        found: Any = Feed.objects.filter(slug=name).first()
    elif scope == KillSwitch.Scope.USER:
        found = named(name).first()
    elif name:
        raise CommandError("Leave --name empty to halt everything.")
    else:
        return {}
    if found is None:
        raise CommandError(f"There is no {scope.lower()} {name!r}.")
    return {f"{scope.lower()}_id": found.pk}


def _as_json(impact: HaltImpact) -> dict[str, Any]:
    texts = {
        name: {currency: plain(amount) for currency, amount in getattr(impact, name).items()}
        for name in asdict(impact)
        if name.endswith("_amounts")
    }
    return {**asdict(impact), **texts}
