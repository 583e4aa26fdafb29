"""Drafts: signals that are being written. They are stored with their faults and published once."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import orjson
from django.db import transaction
from django.db.models import Q, QuerySet

from common.db.functions import ClockTimestamp
from common.errors import ConflictError, InvalidInputError
from common.permissions import Right, require
from common.reason_codes import Code
from common.web.quotas import lock_quota, require_quota, within_a_day
from signals import services
from signals.locks import candidates_shared, feed_shared, owner_id_of
from signals.models import Action, Approval, Feed, Origin, SavedDraft, Signal
from signals.publishing.ingest import build_unsaved, save_draft, with_feed_errors
from signals.publishing.preview import Preview, possible_preview, require_possible, require_useful
from signals.reading.draft import SignalDraft
from signals.reading.intake import read_signal
from users.models import User

MAX_BYTES = 16_384
MAX_OPEN = 500


@transaction.atomic
def store_draft(
    feed_id: int,
    *,
    action: Action,
    body: Mapping[str, Any],
    key: UUID | None = None,
    version: int | None = None,
    by: User,
) -> SavedDraft:
    """Store a draft; one that was stored with this key is changed.

    body: the signal as the API takes it, faults included. key: of its form. version: what the
    caller has read; None: the caller is writing it for the first time. Raises ConflictError
    STATE_CONFLICT if it has ended or is another version; with too many drafts of new trades
    STATE_CONFLICT (of the feed) or QUOTA_REACHED (of its owner), which never hold up a CLOSE or a
    MODIFY; InvalidInputError; NotAllowedError.
    """
    if action == Action.OPEN:
        lock_quota("drafts", owner_id_of(feed_id))
    feed = feed_shared(feed_id)
    require(by, Right.PUBLISH, owner_id=feed.owner_id)
    values = _checked(body)
    key = key or uuid4()
    if version is None and not feed.drafts.filter(key=key).exists():
        if action == Action.OPEN:
            _require_room(feed)
        made, created = SavedDraft.objects.get_or_create(
            feed=feed, key=key, defaults={"action": action, "body": values, "created_by": by}
        )
        if created:
            return SavedDraft.objects.get(pk=made.pk)  # with the database's times
    draft = SavedDraft.objects.select_for_update(no_key=True).get(feed=feed, key=key)
    _require_open(draft)
    if (draft.action, draft.body) == (action, values):
        return draft
    _require_version(draft, version or 1)
    if action == Action.OPEN != draft.action:
        _require_room(feed)
    SavedDraft.objects.filter(pk=draft.pk).update(
        action=action, body=values, version=draft.version + 1, changed_at=ClockTimestamp()
    )
    return SavedDraft.objects.get(pk=draft.pk)


def _require_room(feed: Feed) -> None:
    """Raise ConflictError if the feed or its owner has too many drafts of new trades."""
    if open_drafts(feed).filter(action=Action.OPEN).count() >= MAX_OPEN:
        detail = f"The feed has {MAX_OPEN} drafts of new trades. Publish or discard some of them."
        raise ConflictError(Code.STATE_CONFLICT, detail)
    counted = Q(signal=None, discarded_at=None) | within_a_day()
    drafts = SavedDraft.objects.filter(counted, feed__owner=feed.owner_id, action=Action.OPEN)
    require_quota("drafts", feed.owner_id, drafts)


def open_drafts(feed: Feed) -> QuerySet[SavedDraft]:
    """Return the drafts of a feed that can still be published, newest first."""
    return feed.drafts.filter(signal=None, discarded_at=None).order_by("-id")


def read_draft(draft: SavedDraft) -> SignalDraft:
    """Return the signal that a draft describes. Raises InvalidSignalError with all faults."""
    feed = draft.feed
    with with_feed_errors(lambda _: feed, Origin.HAND):
        return read_signal({**draft.body, "action": draft.action, "feed": feed.slug})


def preview_draft(draft: SavedDraft) -> tuple[Signal, Preview]:
    """Return the unsaved signal and what its publication would do now.

    The caller must check the user's rights. Raises InvalidInputError with all faults.
    """
    with transaction.atomic():
        signal = build_unsaved(draft.feed, read_draft(draft))
        return signal, possible_preview(signal)


@transaction.atomic
def publish_draft(draft_id: int, *, version: int | None = None, by: User) -> tuple[Signal, bool]:
    """Make a draft a signal and publish it; return the signal, and False if it was made before.

    Of two calls at once one does it. If neither the feed nor the signal is approved, the signal
    waits for an operator. version: what the caller has seen. Raises InvalidInputError with all
    faults; ConflictError if it is another version, was discarded, another draft became its signal
    (DUPLICATE_SIGNAL), or no account could take it now; NotAllowedError. Then nothing is written,
    and the draft stays.
    """
    feed_id = SavedDraft.objects.values_list("feed_id", flat=True).get(pk=draft_id)
    candidates_shared(feed_id)  # before the feed's lock, which `save_draft` takes
    draft = SavedDraft.objects.select_for_update(no_key=True).get(pk=draft_id)
    feed = feed_shared(feed_id)
    require(by, Right.PUBLISH, owner_id=feed.owner_id)
    if draft.signal_id is not None:
        return Signal.objects.select_related("feed").get(pk=draft.signal_id), False
    _require_open(draft)
    if version is not None:
        _require_version(draft, version)
    read = read_draft(draft)
    read = replace(read, external_id=read.external_id or draft.external_id)
    signal, is_new = save_draft(feed, read, origin=Origin.HAND, by=by)
    if is_new:
        require_possible(signal)
    elif SavedDraft.objects.filter(signal=signal).exists():
        detail = (
            f"Another draft with this external id became {signal.number}, with the same contents. "
            "Give this one another id, or discard it."
        )
        raise ConflictError(Code.DUPLICATE_SIGNAL, detail)
    if signal.approval == Approval.APPROVED and not signal.is_published:
        require_useful(signal)
        services.publish(signal.pk, by=by)
    SavedDraft.objects.filter(pk=draft_id).update(signal=signal, changed_at=ClockTimestamp())
    return Signal.objects.select_related("feed").get(pk=signal.pk), True


@transaction.atomic
def discard_draft(draft_id: int, *, by: User) -> bool:
    """Discard a draft for good. Returns False if it was discarded before.

    Raises ConflictError STATE_CONFLICT if it was published; NotAllowedError.
    """
    draft = SavedDraft.objects.select_for_update(no_key=True, of=("self",)).select_related(
        "feed"
    ).get(pk=draft_id)  # fmt: skip
    require(by, Right.PUBLISH, owner_id=draft.feed.owner_id)
    if draft.discarded_at is not None:
        return False
    _require_open(draft)
    SavedDraft.objects.filter(pk=draft_id).update(discarded_at=ClockTimestamp())
    return True


def _checked(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is stored of a body: JSON of a limited size, without what its draft has."""
    values = {name: value for name, value in body.items() if name not in ("action", "feed")}
    try:
        text = orjson.dumps(values)
    except (TypeError, ValueError) as error:
        raise InvalidInputError(Code.BODY_NOT_JSON, "The draft is no JSON object.") from error
    if len(text) > MAX_BYTES:
        detail = f"A draft has at most {MAX_BYTES:,} bytes; this one has {len(text):,}."
        raise InvalidInputError(Code.FIELD_INVALID, detail, field="body")
    if b"\\u0000" in text:
        raise InvalidInputError(Code.FIELD_INVALID, "It has a NUL character.", field="body")
    stored: dict[str, Any] = orjson.loads(text)
    return stored


def _require_open(draft: SavedDraft) -> None:
    if draft.signal_id is not None:
        detail = f"The draft was published as S-{draft.signal_id}."
        raise ConflictError(Code.STATE_CONFLICT, detail)
    if draft.discarded_at is not None:
        raise ConflictError(Code.STATE_CONFLICT, "The draft was discarded.")


def _require_version(draft: SavedDraft, version: int) -> None:
    if draft.version != version:
        detail = (
            "The draft was changed since this page was shown, in another window or by another "
            "user. Look at it as it is now."
        )
        raise ConflictError(Code.STATE_CONFLICT, detail)
