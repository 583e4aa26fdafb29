"""Publish signals from a file or standard input."""

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.db import transaction

from common.errors import InvalidInputError
from common.permissions import Right, may
from common.process.commands import HelpedCommand
from signals.publishing.batch import (
    OUTCOMES,
    PUBLISHED,
    REFUSED,
    WAITING,
    Entry,
    Outcome,
    Publisher,
    entries_of,
    hint_of,
)
from users.lookups import named
from users.models import User

HELP = """\
Publish signals: each is executed at most once on every account that follows its feed.

FILE holds one JSON object, a list of them, or one object on each line; - reads standard input.

  echo '{"feed": "majors", "symbol": "EUR/USD", "direction": "BUY", "sl": "1.08", "tp": "1.10"}' \\
    | manage.py publish_signal -

Fields: symbol, direction (BUY, SELL); order_type (MARKET, LIMIT with open_price, STOP with
stop_price, STOP_LIMIT with both, IF_TOUCHED with stop_price, TRAILING_STOP with trail_distance,
trail_pips, trail_percent or trail_atr (trail_atr_minutes) and maybe activation_price), sl, tp or
targets [{"price", "fraction"}],
not_before, after_signal (or after_signal_external_id) with after_state, close_at,
close_after_seconds, close_when_signal (or close_when_signal_external_id) with close_when_state,
time_in_force (GTC, GTD, DAY, IOC, FOK), valid_for (seconds) or valid_until,
max_slippage (with max_slippage_unit; max_slippage_pips for currencies), max_spread (with
max_spread_unit), break_even_target, break_even_profit, break_even_offset, trailing_distance,
trailing_step, trailing_activation (with stop_rule_unit), execution_style TWAP or VWAP
(duration_seconds, slice_count, slice_variation, price_limit, catch_up, at_end), risk_category
(small, normal, large),
provider_quantity, provider_equity with provider_currency, external_id, feed. To change or end a
trade: action MODIFY (sl, tp, close_at, valid_until …) or CLOSE (close_fraction) with refers_to or
refers_to_external_id. docs/api.md lists them all.

The same entry again publishes nothing: it is recognised by its external_id, else by its contents (a
new external_id makes it another trade). An entry with errors is reported with its index, from 0,
and not stored; the others are published.

Progress goes to stderr; the last line of stdout is a JSON summary. Exit code: 0 everything is
published, 1 an entry was refused or waits for approval, 2 the file cannot be read."""


class Command(HelpedCommand):
    """`manage.py publish_signal FILE`."""

    help = HELP

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", metavar="FILE", help="a JSON file, or - for standard input")
        parser.add_argument(
            "--feed", default="", metavar="SLUG", help="the feed of entries without one"
        )
        parser.add_argument(
            "--dry-run", action="store_true", help="show what would happen and change nothing"
        )
        parser.add_argument(
            "--approve",
            action="store_true",
            help="also publish signals that wait for approval (with --by)",
        )
        parser.add_argument(
            "--by", default="", metavar="USER", help="the acting user, for the records"
        )

    def handle(self, *, file: str, feed: str, dry_run: bool, **options: Any) -> None:
        entries = self._read(file)
        user = self._user(options["by"])
        if options["approve"] and (user is None or not may(user, Right.APPROVE)):
            detail = "--approve needs --by with the name of a user who may approve signals."
            raise CommandError(detail, returncode=2)
        publisher = Publisher(
            default_feed=feed, by=user, approver=user if options["approve"] else None
        )
        outcomes = (
            self._simulate(publisher, entries) if dry_run else self._publish(publisher, entries)
        )
        counts = Counter(outcome.outcome for outcome in outcomes)
        ok = not counts[REFUSED] and not counts[WAITING]
        summary = {"ok": ok, "dry_run": dry_run, "entries": len(entries)}
        summary |= {name: counts[name] for name in OUTCOMES}
        self.stdout.write(
            json.dumps(summary | {"results": [outcome.as_dict() for outcome in outcomes]})
        )
        if not ok:
            sys.exit(1)

    def _read(self, file: str) -> list[Entry]:
        try:
            data = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
            return entries_of(data)
        except OSError as error:
            raise CommandError(f"{file}: {error.strerror}", returncode=2) from error
        except InvalidInputError as error:
            detail = f"{file}: {error.code}: {error.detail} {hint_of(error.code)}"
            raise CommandError(detail, returncode=2) from error

    def _user(self, username: str) -> User | None:
        if not username:
            return None
        user = named(username).filter(is_active=True).first()
        if user is None:
            raise CommandError(f"There is no active user {username!r}.", returncode=2)
        return user

    def _publish(self, publisher: Publisher, entries: list[Entry]) -> list[Outcome]:
        return [self._report(outcome) for outcome in publisher.publish(entries)]

    def _simulate(self, publisher: Publisher, entries: list[Entry]) -> list[Outcome]:
        """Publish everything and roll back; messages that are enqueued on commit are never sent."""
        with transaction.atomic():
            outcomes = self._publish(publisher, entries)
            transaction.set_rollback(True)
        return outcomes

    def _report(self, outcome: Outcome) -> Outcome:
        signal = outcome.signal
        text = f"{signal.number} {signal}" if signal else ""
        if outcome.outcome == PUBLISHED and signal:
            text += f" to {signal.candidate_count or 0} accounts"
        if outcome.outcome == WAITING:
            text += ": its feed is not approved; an operator approves the signal, or use --approve"
        self.stderr.write(f"#{outcome.index} {outcome.outcome} {text}".rstrip(), str)
        for error in outcome.errors:
            where = f" {error.field}:" if error.field else ""
            self.stderr.write(
                f"   {error.code}{where} {error.detail} {hint_of(error.code)}".rstrip(), str
            )
        return outcome
