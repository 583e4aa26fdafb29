"""Publish the signals of a file, each independently of the others."""

import dataclasses
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from django.db import transaction

from common.errors import FillcastError, InvalidInputError
from common.reason_codes import Code
from signals import services
from signals.field_error import FieldError
from signals.locks import candidates_shared
from signals.models import Approval, Feed, Origin, Signal
from signals.publishing.ingest import require_feed, save_draft, with_feed_errors
from signals.publishing.preview import require_possible
from signals.reading import strict_json
from signals.reading.draft import SignalDraft
from signals.reading.errors import field_errors
from signals.reading.intake import read_signal
from users.models import User

MAX_FILE_BYTES = 64 * 1024 * 1024
HINTS = {
    Code.BODY_NOT_JSON: "Write one JSON object, a list of them, or one object on each line.",
    Code.BODY_TOO_LARGE: "A file has at most 64 MiB, each of its lines 16 KiB.",
}
PUBLISHED, ALREADY, WAITING, REFUSED = "published", "already", "waiting", "refused"
OUTCOMES = (PUBLISHED, ALREADY, WAITING, REFUSED)


@dataclass(frozen=True, slots=True)
class Entry:
    """One signal of a file, or the error why it cannot be read."""

    index: int
    data: Any = None
    error: InvalidInputError | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of one entry: one of OUTCOMES, with its signal or errors."""

    index: int
    outcome: str
    signal: Signal | None = None
    errors: tuple[FieldError, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return the outcome for the JSON summary."""
        summary: dict[str, Any] = {"index": self.index, "outcome": self.outcome}
        if self.signal:
            summary |= {"signal": self.signal.pk, "candidates": self.signal.candidate_count}
        if self.errors:
            summary["errors"] = [
                error.as_dict() | {"hint": hint_of(error.code)} for error in self.errors
            ]
        return summary


def hint_of(code: Code) -> str:
    """Return what to do about an error of a file; a code's own hint may be for the API's bodies."""
    return HINTS.get(code, code.hint)


def entries_of(data: bytes) -> list[Entry]:
    """Split a file into its entries: one JSON object, a list of them, or one on each line.

    Raises InvalidInputError for anything else.
    """
    try:
        whole = strict_json.parse(data, max_bytes=MAX_FILE_BYTES)
    except InvalidInputError:
        lines = [line for line in data.splitlines() if line.strip()]
        by_line = [_line(index, line) for index, line in enumerate(lines)]
        if len(lines) < 2 or not any(isinstance(entry.data, dict) for entry in by_line):
            raise
        return by_line
    items = whole if isinstance(whole, list) else [whole]
    if not items:
        raise InvalidInputError(Code.BODY_NOT_JSON, "The list is empty.")
    return [Entry(index, item) for index, item in enumerate(items)]


def _line(index: int, line: bytes) -> Entry:
    try:
        return Entry(index, strict_json.parse(line))
    except InvalidInputError as error:
        return Entry(index, error=error)


@dataclass
class Publisher:
    """Publishes entries one after the other, each in its own transaction.

    default_feed: the slug for entries without a feed. approver: approves signals that wait for
    approval, if given. by: the acting user; None: the system.
    """

    default_feed: str = ""
    approver: User | None = None
    by: User | None = None
    _equal_entries: Counter[str] = field(default_factory=Counter)

    def publish(self, entries: list[Entry]) -> Iterator[Outcome]:
        """Yield each entry's outcome. Nothing is written for a refused entry."""
        for entry in entries:
            try:
                with transaction.atomic():
                    outcome = self._publish_entry(entry)
            except FillcastError as error:
                outcome = Outcome(entry.index, REFUSED, errors=_errors(error))
            yield outcome

    def _publish_entry(self, entry: Entry) -> Outcome:
        if entry.error:
            raise entry.error
        with with_feed_errors(self._feed):
            draft = read_signal(entry.data)
        draft = self._with_external_id(draft)
        feed = require_feed(self._feed, [draft])
        candidates_shared(feed.pk)  # before the feed's lock, which `save_draft` takes
        signal, is_new = save_draft(feed, draft, origin=Origin.FILE, by=self.by)
        if is_new:
            require_possible(signal)
        if signal.is_published:
            return Outcome(entry.index, ALREADY, signal)
        if signal.approval == Approval.PENDING and self.approver:
            services.approve(signal.pk, by=self.approver)
        elif signal.approval == Approval.PENDING:
            return Outcome(entry.index, WAITING, signal)
        is_first = services.publish(signal.pk, by=self.by)
        signal.refresh_from_db()
        return Outcome(entry.index, PUBLISHED if is_first else ALREADY, signal)

    def _with_external_id(self, draft: SignalDraft) -> SignalDraft:
        """Give an entry without external id one from its contents. Equal entries get different ids.

        So a file that is read again, for example after a crash, publishes nothing twice.
        """
        if draft.external_id:
            return draft
        digest = draft.digest(with_time=True)[:32]
        self._equal_entries[digest] += 1
        return dataclasses.replace(
            draft, external_id=f"file:{digest}:{self._equal_entries[digest]}"
        )

    def _feed(self, draft: SignalDraft) -> Feed:
        slug = draft.feed or self.default_feed
        known = Feed.objects.filter(archived_at=None).order_by("slug")
        if not slug:
            detail = f"Name the feed, in the entry or by --feed: {_slugs(known)}."
            raise InvalidInputError(Code.FIELD_REQUIRED, detail, field="feed")
        feed = known.filter(slug=slug).first()
        if feed is None:
            detail = f"There is no feed {slug!r}; there are: {_slugs(known)}."
            raise InvalidInputError(Code.FEED_UNKNOWN, detail, field="feed")
        if self.default_feed and slug != self.default_feed:
            detail = f"The entry names the feed {slug!r}, but --feed is {self.default_feed!r}."
            raise InvalidInputError(Code.FIELD_INVALID, detail, field="feed")
        return feed


def _slugs(feeds: Any) -> str:
    return ", ".join(feeds.values_list("slug", flat=True)[:20]) or "(none yet)"


def _errors(error: FillcastError) -> tuple[FieldError, ...]:
    if isinstance(error, InvalidInputError):
        return field_errors(error)
    return (FieldError(error.code, "", error.detail),)
