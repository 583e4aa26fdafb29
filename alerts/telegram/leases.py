"""Which process polls which bot. Times are the database's; the row is the lease."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Q, QuerySet

from alerts.models import TelegramBot
from common.db.functions import ClockTimestamp
from common.db.sql import array, run
from users.joins import of_open_key

# Checked again on the locked row: another process may have taken it meanwhile.
TAKE = """
UPDATE alerts_telegrambot b SET holder = %(holder)s,
  fence = CASE WHEN b.holder = %(holder)s AND b.lease_until > clock_timestamp() THEN b.fence
    ELSE b.fence + 1 END,
  lease_until = clock_timestamp() + make_interval(secs => %(seconds)s)
WHERE b.id = ANY(%(ids)s::bigint[]) AND NOT b.is_paused
  AND (b.holder = %(holder)s OR b.lease_until < clock_timestamp())
"""
RELEASE = """
UPDATE alerts_telegrambot SET holder = '', lease_until = clock_timestamp()
WHERE holder = %s AND id = ANY(%s::bigint[])
"""
RENEWED_BELOW = 0.6
"""A lease is renewed when less than this part of it is left."""


@dataclass(frozen=True, slots=True)
class HeldBot:
    """A bot of this process. is_due: it may be polled now."""

    id: int
    fence: int
    next_offset: int
    is_due: bool
    is_checked: bool
    token_sealed: bytes
    update_at: datetime | None
    failures: int


def _readable() -> QuerySet[TelegramBot]:
    return TelegramBot.objects.filter(
        of_open_key("made_with"),
        is_paused=False,
        feed__archived_at=None,
        feed__owner__is_active=True,
    )


def take_bots(holder: str, seconds: float) -> Sequence[HeldBot]:
    """Take the bots that are free, renew those of this process, and return its own."""
    now: Any = ClockTimestamp()
    aged = now + timedelta(seconds=seconds * RENEWED_BELOW)
    is_wanted = Q(lease_until__lt=now) | Q(holder=holder, lease_until__lt=aged)
    ids = list(_readable().filter(is_wanted).order_by("pk").values_list("pk", flat=True))
    if ids:
        run(TAKE, {"holder": holder, "seconds": seconds, "ids": array(ids)})
    held = _readable().filter(holder=holder, lease_until__gt=now).order_by("pk")
    due = set(held.filter(due_at__lte=now).values_list("pk", flat=True)) if held else set()
    return [
        HeldBot(
            id=bot.pk,
            fence=bot.fence,
            next_offset=bot.next_offset,
            is_due=bot.pk in due,
            is_checked=bot.checked_at is not None,
            token_sealed=bytes(bot.token_sealed),
            update_at=bot.update_at,
            failures=bot.failures,
        )
        for bot in held
    ]


def release_bots(holder: str, ids: Collection[int]) -> None:
    """End the leases of a process, so that another one polls at once."""
    run(RELEASE, (holder, array(ids)))
