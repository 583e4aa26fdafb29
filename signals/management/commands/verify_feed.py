"""manage.py verify_feed: prove that a feed's record was not changed."""

import json
import re
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.db import DatabaseError

from common.hash_chain import Findings, Head
from common.process.commands import HelpedCommand
from signals.models import Feed
from signals.records.check import number_of, store_status, verify_feed

HELP = """\
Prove that no link of a feed's record was changed, removed, inserted or back-dated after it was
sealed, and that its signals and results are as the links state.

Each link holds the hash of the link before it and of its own content: a published OPEN, MODIFY or
CLOSE, a cancellation, or the final result of a signal. Every hour a worker signs the heads of all
feeds (FILLCAST_SECRET_KEY). This command computes all hashes and signatures again, compares the
signals and the results that the record shows with their links, and the record's figures with its
results, and checks that the triggers exist. It prints one line for each fault; the last line of
stdout is JSON:
{"feed", "ok", "links", "head", "anchors", "wrong"}.

Keep the head (NUMBER:HASH) where the database's owner cannot write, and pass it with --expect or
--head. This also finds a record rewritten by a person who knows the key. Subscribers have such
links in digests and webhooks (record_link); a hash alone is looked up, too. The result is stored
and shown on the feed's page; a head given with --expect may be mistyped and is only printed.
Exit code: 0 if the record is intact, 1 if not. docs/records.md explains the record."""


class Command(HelpedCommand):
    """Verify the record of a feed."""

    help = HELP

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        parser.add_argument("slug", help="the feed")
        parser.add_argument(
            "--expect", "--head", dest="expect", metavar="NUMBER:HASH", action="append",
            default=[],
            help="a head or link that was kept elsewhere, or its hash alone: it must be in the"
            " chain; may be given several times",
        )  # fmt: skip

    def handle(self, *, slug: str, expect: list[str], **_: Any) -> None:
        """Verify, store the result and print it. Raises CommandError for an unknown feed."""
        feed = Feed.objects.filter(slug=slug).first()
        if feed is None:
            raise CommandError(f"There is no feed {slug!r}.")
        heads = [_head(feed.pk, text) for text in expect]
        found = verify_feed(feed.pk, [head for head in heads if head.number])
        found.unmatched += [
            f"The hash that you gave, {head.hash}, is of no link: it is mistyped, or the record was"
            " rewritten."
            for head in heads
            if not head.number
        ]
        for sentence in (*found.wrong, *found.unmatched):
            self.stdout.write(self.style.ERROR(sentence))
        if found.more:
            self.stdout.write(f"… and {found.more} more.")
        if found.is_proven:
            self.stdout.write(
                f"{found.lines} links, {found.checkpoints} anchors: the record is intact."
            )
        self._store(feed, found)
        self.stdout.write(_as_line(slug, found))
        if not found.is_proven:
            raise SystemExit(1)

    def _store(self, feed: Feed, found: Findings) -> None:
        """Store the result; a database role that may not write it still gets a verdict."""
        try:
            store_status(feed.pk, found)
        except DatabaseError as error:
            self.stderr.write(f"The feed's page was not updated: {error}")


def _as_line(slug: str, found: Findings) -> str:
    return json.dumps(
        {
            "feed": slug,
            "ok": found.is_proven,
            "links": found.lines,
            "head": found.head.text,
            "anchors": found.checkpoints,
            "wrong": found.count,
        }
    )


def _head(feed_id: int, text: str) -> Head:
    """Return a given head; one without a number is that of the link with this hash, if any."""
    if not (parts := re.fullmatch(r"(?:(\d{1,18}):)?([0-9a-f]{64})", text.strip())):
        raise CommandError(f"{text!r} is not a head of an earlier run, such as 1041:9f2c….")
    number = int(parts[1]) if parts[1] else number_of(feed_id, parts[2])
    return Head(number or 0, parts[2])
