"""Feeds and the tokens that alerts come in by."""

import hashlib
import hmac
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from django.db import transaction
from django.utils.text import slugify

from common.clocks import market_now
from common.errors import InvalidInputError
from common.permissions import Right, may, require
from common.reason_codes import Code
from signals.locks import feed_exclusive
from signals.models import Feed, FeedToken
from signals.signing import seal_signing_key
from users.models import User

_PREFIX = 10
_NO_TOKEN = hashlib.sha256(b"no such token").hexdigest()


@transaction.atomic
def create_feed(
    *,
    owner: User,
    name: str,
    slug: str = "",
    description: str = "",
    is_public: bool = True,
    is_approved: bool = False,
) -> Feed:
    """Create a feed; its slug is made from its name unless given.

    is_approved: its signals need no operator. Of a tenant's private feed that is the owner's own
    approval, which covers the owner's accounts only. Raises InvalidInputError FIELD_INVALID for a
    slug that is taken or cannot be made.
    """
    slug = slug or slugify(name)[:60]
    if not slug or slugify(slug) != slug or len(slug) > 60:
        detail = f"{slug!r} is no slug: small letters, digits and hyphens, at most 60."
        raise InvalidInputError(Code.FIELD_INVALID, detail, field="slug")
    feed, created = Feed.objects.get_or_create(
        slug=slug,
        defaults={
            "owner": owner,
            "name": name,
            "description": description,
            "is_public": is_public,
            "is_approved": is_approved,
            "approved_by_owner": is_approved and not is_public and not may(owner, Right.APPROVE),
        },
    )
    if not created:
        raise InvalidInputError(Code.FIELD_INVALID, f"{slug!r} is taken.", field="slug")
    return feed


@transaction.atomic
def update_feed(feed_id: int, *, by: User | None, **changes: Any) -> Feed:
    """Change a feed, and nothing that is not named; return it as it is then.

    Going public or to another owner withdraws its approval unless an operator approves it in the
    same call. A trigger sends its unpublished signals back to PENDING with that, and when it is
    archived. Raises NotAllowedError where `by` (None: the system) lacks the right to change it, or
    to approve it.
    """
    feed = feed_exclusive(feed_id)
    require(by, Right.FEEDS, owner_id=feed.owner_id)
    if "is_approved" in changes:
        require(by, Right.APPROVE)
    changes |= approval_after(feed, changes)
    for name, value in changes.items():
        setattr(feed, name, value)
    feed.save(update_fields=list(changes))
    feed.refresh_from_db()  # what the triggers have made of it
    return feed


def approval_after(feed: Feed, changes: Mapping[str, Any]) -> dict[str, bool]:
    """Return what becomes of a feed's approval by these changes; empty: it stays."""
    if "is_approved" in changes:  # an operator's word
        return {"is_approved": bool(changes["is_approved"]), "approved_by_owner": False}
    goes_public = changes.get("is_public", feed.is_public) and not feed.is_public
    moves = changes.get("owner", feed.owner) != feed.owner
    return {"is_approved": False, "approved_by_owner": False} if goes_public or moves else {}


def narrow_own_approval(*, user: User, **_: Any) -> None:
    """Let private feeds that an operator approved for themselves reach that person's accounts only,
    who may not approve any more. Receives `rights_changed`, in its transaction."""
    if may(user, Right.APPROVE):
        return
    private = Feed.objects.filter(
        owner=user, is_public=False, is_approved=True, approved_by_owner=False
    ).order_by("pk")
    for feed_id in list(private.values_list("pk", flat=True)):
        feed_exclusive(feed_id)
        private.filter(pk=feed_id).update(approved_by_owner=True)


@transaction.atomic
def archive_feed(feed_id: int) -> bool:
    """Take a feed out of use: no signals come in any more. Its history stays."""
    feed_exclusive(feed_id)
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
    """Create a token for the alert door; return it with its secret, which is shown only now.

    expires_at: real time. by: who makes it; made with an API key, it ends with that key at the
    latest, and when the key is revoked. Raises InvalidInputError for an end in the past, or after
    the key's. signed: alerts must also carry X-Fillcast-Signature, the HMAC-SHA256 of
    the body under `signing_key`: whoever reads the address in a log cannot use it. The token that
    is returned has that key; the row has it sealed (signals/signing.py).
    """
    ends = _end_of(expires_at, at_most=by.key_ends_at if by else None)
    prefix = secrets.token_hex(_PREFIX // 2)
    secret = f"{prefix}{secrets.token_hex(24)}"
    signing_key = secrets.token_hex(32) if signed else ""
    token = FeedToken.objects.create(
        feed=feed,
        name=name,
        prefix=prefix,
        secret_hash=_hash(secret),
        signing_key=seal_signing_key(signing_key, secret, prefix) if signed else "",
        expires_at=ends,
        made_with_id=by.key_id if by else None,
    )
    token.signing_key = signing_key
    return token, secret


def _end_of(wanted: datetime | None, *, at_most: datetime | None) -> datetime | None:
    if wanted is None:
        return at_most
    if wanted <= datetime.now(UTC):
        raise InvalidInputError(Code.FIELD_INVALID, "The end lies in the past.", field="expires_at")
    if at_most is not None and wanted > at_most:
        detail = f"The key that you sent ends at {at_most.isoformat()}; so must this address."
        raise InvalidInputError(Code.FIELD_INVALID, detail, field="expires_at")
    return wanted


@transaction.atomic
def revoke_feed_token(token_id: int) -> bool:
    """Make a token useless from now on. Returns False if it was revoked before."""
    return bool(
        FeedToken.objects.filter(pk=token_id, revoked_at=None).update(revoked_at=datetime.now(UTC))
    )


def token_for(feed_slug: str, secret: str) -> FeedToken:
    """Return the token that opens this feed now, with its feed.

    Raises InvalidInputError FEED_UNKNOWN for an unknown feed, another feed's, a revoked, an expired
    or a wrong token, one made with a key that is revoked, or an owner who may not log in any more:
    in the same words and time.
    """
    prefix = secret[:_PREFIX]
    if not (prefix.isascii() and prefix.isalnum()):
        prefix = ""  # no token has it; what PostgreSQL cannot store must not reach it
    token = (
        FeedToken.objects.select_related("feed", "feed__owner", "made_with")
        .filter(prefix=prefix, feed__slug=feed_slug, feed__archived_at=None)
        .first()
    )
    matches = hmac.compare_digest(_hash(secret), token.secret_hash if token else _NO_TOKEN)
    if token is None or not matches or not _is_usable(token):
        raise InvalidInputError(Code.FEED_UNKNOWN)
    return token


def signature_of(signing_key: str, body: bytes) -> str:
    """Return what X-Fillcast-Signature must say for a body: `sha256=<hex>`."""
    return "sha256=" + hmac.new(signing_key.encode(), body, hashlib.sha256).hexdigest()


def _is_usable(token: FeedToken) -> bool:
    expired = token.expires_at is not None and token.expires_at <= datetime.now(UTC)
    key_is_revoked = token.made_with is not None and token.made_with.revoked_at is not None
    open_ = token.revoked_at is None and not expired and not key_is_revoked
    return open_ and token.feed.owner.is_active


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()
