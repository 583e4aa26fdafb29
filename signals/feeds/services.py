"""Services for feeds and their alert tokens."""

import hashlib
import hmac
import secrets
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Q
from django.utils.text import slugify

from common.clocks import market_now
from common.db.row_faults import row_errors
from common.errors import ConflictError, InvalidInputError, raise_all
from common.permissions import Right, may, require
from common.reason_codes import Code
from common.web.quotas import lock_quota, require_quota, within_a_day
from signals.feeds.alert_rules import loosens
from signals.feeds.approval_notices import notify_decided
from signals.feeds.signing import seal_signing_key
from signals.locks import feed_exclusive, require_not_archived
from signals.models import (
    DEFAULT_LEVEL_DEVIATION,
    DEFAULT_PRICE_DEVIATION,
    Approval,
    ApprovalRequest,
    Feed,
    FeedToken,
    RequestOutcome,
)
from users.joins import key_of
from users.keys.setters import ended_with
from users.models import User
from users.sign_in.session_factor import require_fresh_factor

PREFIX_LENGTH, MAX_NAME = 10, 200
SAMPLE_FEED = "sample-orders-"
"""How the slug of the feed of an account's sample orders begins; no other feed's does."""
_check_mapping: Callable[[object], object]


@transaction.atomic
def create_feed(
    *,
    owner: User,
    name: str,
    slug: str = "",
    description: str = "",
    is_public: bool = True,
    is_approved: bool = False,
    max_signal_notional: Decimal | None = None,
    max_signal_currency: str = "",
    max_price_deviation_percent: Decimal | None = DEFAULT_PRICE_DEVIATION,
    max_level_deviation_percent: Decimal | None = DEFAULT_LEVEL_DEVIATION,
    for_samples: bool = False,
    **rules: Any,
) -> Feed:
    """Create a feed. slug: made from the name unless given, or made up if that has no Latin letter.

    is_approved: its signals need no further approval. For a tenant's private feed this is the
    owner's own approval, which covers only the owner's accounts. max_signal_notional: of a signal's
    entries on all accounts, in max_signal_currency. max_*_deviation_percent: of its prices and
    levels from the market; None: not compared. rules: alerts_per_minute and the like, and
    record_is_public. for_samples: it is the feed of an account's sample orders, and counts for no
    quota. Raises InvalidInputError FIELD_INVALID with all faults: of the limits, and a slug that is
    taken, reserved or not valid; ConflictError QUOTA_REACHED.
    """
    slug = slug or slug_of(name)
    if not slug and any(map(str.isalnum, name)):  # of another script
        slug = f"feed-{secrets.token_hex(4)}"
    values = {
        "owner": owner,
        "name": name,
        "description": description,
        "is_public": is_public,
        "is_approved": is_approved,
        "max_signal_notional": max_signal_notional,
        "max_signal_currency": max_signal_currency,
        "max_price_deviation_percent": max_price_deviation_percent,
        "max_level_deviation_percent": max_level_deviation_percent,
        "approved_by_owner": is_approved and not is_public and not may(owner, Right.APPROVE),
        **rules,
    }
    errors = row_errors(Feed(slug=slug, **values))
    if len(name) > MAX_NAME or "\0" in name:
        detail = f"A name has at most {MAX_NAME} characters, and no NUL."
        errors.append(InvalidInputError(Code.FIELD_INVALID, detail, field="name"))
    if slug.startswith(SAMPLE_FEED) and not for_samples:
        detail = f"{SAMPLE_FEED}… is for the feeds of sample orders: choose another slug."
        errors.append(InvalidInputError(Code.FIELD_INVALID, detail, field="slug"))
    if not slug or slugify(slug) != slug or len(slug) > 60:
        detail = f"{slug!r} is not a slug: use small letters, digits and hyphens, at most 60."
        errors.append(InvalidInputError(Code.FIELD_INVALID, detail, field="slug"))
    raise_all(errors)
    if not for_samples:
        require_feed_quota(owner.pk)
    taken = InvalidInputError(Code.FIELD_INVALID, f"{slug!r} is taken.", field="slug")
    try:
        with transaction.atomic():
            feed, created = Feed.objects.get_or_create(slug=slug, defaults=values)
    except IntegrityError as error:  # by a feed that this user may not see
        raise taken from error
    if not created:
        raise taken
    return feed


def require_feed_quota(owner_id: int) -> None:
    """Raise ConflictError QUOTA_REACHED if another feed is too many for its owner."""
    live = Q(archived_at=None) | within_a_day()
    counted = Feed.objects.filter(live, owner=owner_id).exclude(slug__startswith=SAMPLE_FEED)
    require_quota("feeds", owner_id, counted)


def slug_of(name: str) -> str:
    """Return the slug that is made from a feed's name; '' without a Latin letter or digit."""
    return slugify(name)[:60].strip("-_")


def register_mapping_check(check: Callable[[object], object]) -> None:
    """Have mappings of alerts checked; `alerts`, which reads by them, registers it."""
    global _check_mapping
    _check_mapping = check


@transaction.atomic
def update_feed(feed_id: int, *, by: User | None, **changes: Any) -> Feed:
    """Change only these fields of a feed; return the feed as it is then.

    If it goes public or to another owner, its approval is withdrawn, unless an operator approves it
    in the same call. A trigger then sets its unpublished signals to PENDING, as it does when the
    feed is archived. Raises InvalidInputError with all faults; NotAllowedError if `by` (None: the
    system) may not change or approve it; SecondFactorNeededError if the feed would then take alerts
    that it refuses now (`alert_rules.loosens`).
    """
    feed = feed_exclusive(feed_id)
    require(by, Right.FEEDS, owner_id=feed.owner_id)
    if "is_approved" in changes:
        require(by, Right.APPROVE)
    if "alert_mapping" in changes:
        _check_mapping(changes["alert_mapping"])
    if loosens(feed, changes):
        require_fresh_factor(by)
    changes |= approval_after(feed, changes)
    _end_request(feed, changes, by)
    for name, value in changes.items():
        setattr(feed, name, value)
    raise_all(row_errors(feed))
    feed.save(update_fields=list(changes))
    feed.refresh_from_db()  # triggers may have changed it
    return feed


def approval_after(feed: Feed, changes: Mapping[str, Any]) -> dict[str, bool]:
    """Return the changes of a feed's approval that these changes cause; empty: none."""
    if "is_approved" in changes:  # an operator decides
        return {"is_approved": bool(changes["is_approved"]), "approved_by_owner": False}
    goes_public = changes.get("is_public", feed.is_public) and not feed.is_public
    changes_owner = changes.get("owner", feed.owner) != feed.owner
    is_withdrawn = goes_public or changes_owner
    return {"is_approved": False, "approved_by_owner": False} if is_withdrawn else {}


def withdrawn_by(feed: Feed, changes: Mapping[str, Any]) -> list[str]:
    """Return, in sentences, what these changes of a feed would withdraw; []: nothing.

    A page states them before it saves. changes: `archived_at` stands for archiving it.
    """
    found = []
    archives = bool(changes.get("archived_at"))
    after = approval_after(feed, changes)
    if feed.is_approved and not after.get("is_approved", True):
        whose = "your own approval" if feed.approved_by_owner else "the operators' approval"
        found.append(f"Withdraws {whose} of the feed: its signals then wait for an operator.")
    approved = feed.signals.filter(
        approval=Approval.APPROVED, published_at=None, cancelled_at=None
    ).count()
    if approved and (found or archives):
        found.append(
            f"Withdraws the approval of {approved:,} signal{'' if approved == 1 else 's'} that "
            f"{'is' if approved == 1 else 'are'} not published yet."
        )
    ends_request = archives or not changes.get("is_public", True)
    if ends_request and feed.approval_requests.filter(outcome=RequestOutcome.OPEN).exists():
        found.append("Withdraws the open request for approval.")
    return found


def narrow_own_approval(*, user: User, **_: Any) -> None:
    """Limit the approval of a former operator's own private feeds to the owner's accounts.

    Receives `rights_changed`, in its transaction.
    """
    if may(user, Right.APPROVE):
        return
    private = Feed.objects.filter(
        owner=user, is_public=False, is_approved=True, approved_by_owner=False
    ).order_by("pk")
    for feed_id in list(private.values_list("pk", flat=True)):
        feed_exclusive(feed_id)
        private.filter(pk=feed_id).update(approved_by_owner=True)


def _end_request(feed: Feed, changes: Mapping[str, Any], by: User | None) -> None:
    """End the open request for approval that a change answers, or that it leaves without sense."""
    if changes.get("is_approved") and by is not None:
        end_request(feed.pk, RequestOutcome.GRANTED, by=by)
    elif changes.get("owner", feed.owner) != feed.owner or not changes.get("is_public", True):
        end_request(feed.pk, RequestOutcome.WITHDRAWN, by=by)


def end_request(
    feed_id: int, outcome: RequestOutcome, *, by: User | None, sentence: str = ""
) -> bool:
    """End the open request for a feed's approval; return False without one."""
    open_request = ApprovalRequest.objects.filter(feed_id=feed_id, outcome=RequestOutcome.OPEN)
    values = {"outcome": outcome, "decided_by": by, "sentence": sentence}
    has_ended = bool(open_request.update(decided_at=datetime.now(UTC), **values))
    if has_ended and outcome != RequestOutcome.WITHDRAWN:
        notify_decided(feed_id, outcome, sentence)
    return has_ended


@transaction.atomic
def archive_feed(feed_id: int, *, by: User | None = None) -> bool:
    """Archive a feed: it accepts no more signals. Returns False if it was archived before."""
    feed_exclusive(feed_id)
    end_request(feed_id, RequestOutcome.WITHDRAWN, by=by)
    return bool(Feed.objects.filter(pk=feed_id, archived_at=None).update(archived_at=market_now()))


@transaction.atomic
def create_feed_token(
    feed: Feed,
    name: str = "alerts",
    expires_at: datetime | None = None,
    *,
    signed: bool = False,
    by: User | None = None,
) -> tuple[FeedToken, str]:
    """Create an alert token; return it with its secret, which is shown only now.

    expires_at: real time. by: the acting user; a token made with an API key ends with that key at
    the latest, and when the key is revoked. Raises InvalidInputError for an end in the past, or
    after the key's; ConflictError STATE_CONFLICT for an archived feed, which takes no alerts, and
    QUOTA_REACHED. signed: alerts must also carry
    X-Fillcast-Signature, the HMAC-SHA256 of the body under `signing_key`, so that an address from a
    log is not enough. If the feed accepts only signed alerts, every token is signed. The returned
    token has that key; the row has it sealed (signals/feeds/signing.py).
    """
    require_not_archived(feed)
    ends = token_end(expires_at, by=by)
    _require_token_quota(feed.owner_id)
    return _make_token(feed, name, ends, signed=signed, by=by)


def _require_token_quota(owner_id: int) -> None:
    works = Q(revoked_at=None, feed__archived_at=None, made_with__revoked_at=None)
    works &= Q(expires_at=None) | Q(expires_at__gt=datetime.now(UTC))
    counted = FeedToken.objects.filter(works | within_a_day(), feed__owner=owner_id)
    require_quota("alert tokens", owner_id, counted)


def _make_token(
    feed: Feed, name: str, ends: datetime | None, *, signed: bool, by: User | None
) -> tuple[FeedToken, str]:
    prefix = secrets.token_hex(PREFIX_LENGTH // 2)
    secret = f"{prefix}{secrets.token_hex(24)}"
    signed = signed or feed.alerts_signed_only
    signing_key = secrets.token_hex(32) if signed else ""
    token = FeedToken.objects.create(
        feed=feed,
        name=name,
        prefix=prefix,
        secret_hash=hash_of(secret),
        signing_key=seal_signing_key(signing_key, secret, prefix) if signed else "",
        expires_at=ends,
        made_with_id=key_of(by),
    )
    token.signing_key = signing_key
    return token, secret


def token_end(expires_at: datetime | None, *, by: User | None) -> datetime | None:
    """Return when an alert token ends that is to end then (None: not); raises as its creation."""
    at_most = by.key_ends_at if by else None
    if expires_at is None:
        return at_most
    if expires_at <= datetime.now(UTC):
        raise InvalidInputError(Code.FIELD_INVALID, "The end is in the past.", field="expires_at")
    if at_most is not None and expires_at > at_most:
        detail = (
            f"The key that you sent ends at {at_most.isoformat()}; the address must not end later."
        )
        raise InvalidInputError(Code.FIELD_INVALID, detail, field="expires_at")
    return expires_at


@transaction.atomic
def rotate_feed_token(
    token_id: int, *, old_ends_at: datetime | None, by: User | None = None
) -> tuple[FeedToken, str]:
    """Create a token that replaces this one, of the same name and signed as it is; return it as
    `create_feed_token` does. The old one works until `old_ends_at` (real time), so that no alert is
    refused while its senders change over. None: it is revoked now, since others may know it.

    Raises InvalidInputError FIELD_INVALID (old_ends_at) for an end that has passed or is later than
    the old token's own; ConflictError STATE_CONFLICT for one that works no more, as after the end
    of its API key, or whose feed is archived, QUOTA_REACHED if both are to work for a while.
    """
    if old_ends_at is not None:
        owners = FeedToken.objects.values_list("feed__owner_id", flat=True)
        lock_quota("alert tokens", owners.get(pk=token_id))
    old = FeedToken.objects.select_for_update(of=("self",), no_key=True).select_related(
        "feed", "feed__owner", "made_with"
    ).get(pk=token_id)  # fmt: skip
    now = datetime.now(UTC)
    is_over = old.expires_at is not None and old.expires_at <= now
    if old.revoked_at is not None or is_over or ended_with(old, "made_with"):
        raise ConflictError(Code.STATE_CONFLICT, "This address works no more: create a new one.")
    require_not_archived(old.feed)
    if old_ends_at is not None:
        _require_end_of_old(old, old_ends_at, now)
        _require_token_quota(old.feed.owner_id)
    is_signed = bool(old.signing_key)
    created = _make_token(old.feed, old.name, token_end(None, by=by), signed=is_signed, by=by)
    if old_ends_at is None:
        revoke_feed_token(old.pk)
    else:
        FeedToken.objects.filter(pk=old.pk).update(expires_at=old_ends_at)
    return created


def end_of_old_token(token: FeedToken, hours: int) -> datetime | None:
    """Return the end of a replaced token so many hours from now, or its own sooner end; for
    `rotate_feed_token`. 0 hours: None, at once."""
    if not hours:
        return None
    chosen = datetime.now(UTC) + timedelta(hours=hours)
    return min(chosen, token.expires_at or chosen)


def _require_end_of_old(old: FeedToken, ends_at: datetime, now: datetime) -> None:
    detail = ""
    if ends_at <= now:
        detail = "The end of the old address is in the past. Send null to end it at once."
    elif old.expires_at is not None and ends_at > old.expires_at:
        detail = f"The old address ends at {old.expires_at.isoformat()} anyway."
    if detail:
        raise InvalidInputError(Code.FIELD_INVALID, detail, field="old_ends_at")


@transaction.atomic
def revoke_feed_token(token_id: int) -> bool:
    """Revoke an alert token for good. Returns False if it was revoked before."""
    return bool(
        FeedToken.objects.filter(pk=token_id, revoked_at=None).update(revoked_at=datetime.now(UTC))
    )


def signature_of(signing_key: str, body: bytes) -> str:
    """Return the X-Fillcast-Signature of a body: `sha256=<hex>`."""
    return "sha256=" + hmac.new(signing_key.encode(), body, hashlib.sha256).hexdigest()


def hash_of(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()
