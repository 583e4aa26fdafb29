"""Which kinds of events a channel receives, when it is quiet, and how often it receives them."""

from collections.abc import Collection, Mapping, Sequence
from datetime import time

from django.db import transaction

from common.db.sql import run
from common.errors import ConflictError, InvalidInputError
from common.reason_codes import Code
from events.models import ON_REQUEST, TO_ONE_CHANNEL, Channel, Digest, EventKind

KINDS = frozenset(EventKind) - TO_ONE_CHANNEL
BY_DEFAULT = KINDS - ON_REQUEST
"""What a channel without kinds of its own receives, with kinds that later versions add."""
ENDED = (
    "The browser has ended its subscription. Open Notifications in that browser and press “Notify "
    "this browser”."
)
RELEASE = """
UPDATE events_delivery SET hold_until = NULL, released_at = clock_timestamp()
WHERE channel_id = %s AND hold_until IS NOT NULL
"""


def checked_name(name: str) -> str:
    """Return a channel's name. Raises InvalidInputError FIELD_REQUIRED."""
    if not name.strip():
        raise InvalidInputError(Code.FIELD_REQUIRED, "A channel needs a name.", field="name")
    return name.strip()


def checked_kinds(kinds: Collection[str]) -> list[str]:
    """Return kinds of events, sorted. Raises InvalidInputError FIELD_INVALID."""
    if unknown := sorted(set(kinds) - KINDS):
        raise InvalidInputError(
            Code.FIELD_INVALID, f"There is no kind of event {unknown[0]!r}.", field="kinds"
        )
    return sorted(set(kinds))


def kinds_of(channel: Channel) -> frozenset[str]:
    """Return the kinds that a channel receives."""
    return frozenset(channel.kinds) or frozenset(map(str, BY_DEFAULT))


@transaction.atomic
def set_kinds(kinds: Mapping[int, Collection[str]], *, user_id: int) -> int:
    """Set which kinds the user's channels receive; return how many channels changed.

    kinds: by channel. All default kinds together are stored as "all", so that kinds of later
    versions come, too. Raises InvalidInputError for an unknown kind, or for none: a channel that
    should receive nothing is switched off.
    """
    changed = 0
    for channel in Channel.objects.select_for_update(no_key=True).filter(
        user_id=user_id, pk__in=kinds
    ).order_by("pk"):  # fmt: skip
        chosen = checked_kinds(kinds[channel.pk])
        if not chosen:
            detail = f"“{channel.name}” needs a kind of event. To get nothing there, switch it off."
            raise InvalidInputError(Code.FIELD_REQUIRED, detail, field="kinds")
        stored: list[str] = [] if set(chosen) == BY_DEFAULT else chosen
        if stored != channel.kinds:
            Channel.objects.filter(pk=channel.pk).update(kinds=stored)
            changed += 1
    return changed


@transaction.atomic
def set_rules(
    channel_id: int, *, is_active: bool = True, quiet_from: time | None = None,
    quiet_until: time | None = None, digest: str = Digest.AT_ONCE, digest_at: time | None = None,
) -> Channel:  # fmt: skip
    """Set a channel's quiet hours and digest, and whether it is on. Times: in the user's zone.

    What waited by the previous rules goes out now. Raises InvalidInputError; ConflictError if it is
    switched on although its browser has ended it.
    """
    if (quiet_from is None) != (quiet_until is None):
        missing = "quiet_from" if quiet_from is None else "quiet_until"
        detail = "Quiet hours need a beginning and an end."
        raise InvalidInputError(Code.FIELD_REQUIRED, detail, field=missing)
    if quiet_from is not None and quiet_from == quiet_until:
        detail = "Quiet hours end when they begin. Choose another end, or neither."
        raise InvalidInputError(Code.FIELD_INVALID, detail, field="quiet_until")
    if digest not in Digest.values:
        expected = ", ".join(value for value in Digest.values if value)
        raise InvalidInputError(
            Code.FIELD_INVALID, f"A digest is empty or one of {expected}.", field="digest"
        )
    if digest == Digest.DAILY and digest_at is None:
        detail = "A daily digest needs a time of day."
        raise InvalidInputError(Code.FIELD_REQUIRED, detail, field="digest_at")
    channel = Channel.objects.select_for_update(no_key=True).get(pk=channel_id)
    if is_active and channel.ended_at is not None:
        raise ConflictError(Code.STATE_CONFLICT, ENDED)
    rules = {
        "is_active": is_active, "quiet_from": quiet_from, "quiet_until": quiet_until,
        "digest": digest, "digest_at": digest_at if digest == Digest.DAILY else None,
    }  # fmt: skip
    if any(getattr(channel, name) != value for name, value in rules.items()):
        Channel.objects.filter(pk=channel_id).update(**rules)
        run(RELEASE, [channel_id])
        channel.refresh_from_db()
    return channel


def kinds_from_pairs(pairs: Sequence[str], channel_ids: Collection[int]) -> dict[int, list[str]]:
    """Return the kinds by channel of a form's `channel:kind` pairs; every channel has an entry."""
    kinds: dict[int, list[str]] = {pk: [] for pk in channel_ids}
    for pair in pairs:
        number, _, kind = pair.partition(":")
        if number.isascii() and number.isdigit() and int(number) in kinds:
            kinds[int(number)].append(kind)
    return kinds
