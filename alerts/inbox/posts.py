"""Alerts that are posted to an address with a token, as TradingView does.

Those that arrive at the same time are stored in one transaction: see `api/alert_batches.py`.
"""

import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from django.db import DatabaseError, InterfaceError, transaction
from psycopg.types.json import Jsonb

from alerts.inbox.addresses import (
    AlertAddress,
    UnknownAddressError,
    address_of,
    addresses_in,
    query_of,
)
from alerts.inbox.storing import (
    RateLimitedError,
    Receipt,
    Refused,
    alerts_of,
    judged_alert,
    receipts_of,
)
from alerts.models import IncomingAlert
from common.db.errors import CommitUnansweredError, is_lost
from common.db.sql import IdRow, Query, exchange
from common.errors import InvalidInputError, NotAllowedError
from common.reason_codes import Code
from signals.feeds.alert_rules import require_source
from signals.feeds.rate import count_calls, seconds_of
from signals.feeds.services import signature_of
from signals.feeds.signing import open_signing_key
from signals.models import Feed
from signals.reading.strict_json import MAX_BYTES
from users.sign_in.attempt_limits import network_of
from users.tenancy import REACH_ALL_TENANTS, act_as, for_all_tenants

# High: TradingView sends the alerts of all its users from a few addresses.
ALERTS_PER_ADDRESS = 60_000  # a minute; each feed also has its own limit


@dataclass(slots=True)
class PostedAlert:
    """An alert as it was posted to an address with a token.

    signature: X-Fillcast-Signature, for tokens that require it. address: the sender's. arrived_at:
    machine time; its deadlines count from then. pauses: for how many seconds its network and its
    feed accept none; counted once, however often it is tried to store it.
    """

    feed_slug: str
    secret: str
    body: bytes
    signature: str = ""
    address: str = ""
    arrived_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    pauses: tuple[int, int] | None = None


@transaction.atomic
def receive_alert(alert: PostedAlert) -> Receipt:
    """Store one posted alert: see `receive_alerts`. Raises UnknownAddressError."""
    with for_all_tenants():
        (receipt,) = _received([alert])
    if isinstance(receipt.error, UnknownAddressError):
        raise receipt.error
    return receipt


def receive_alerts(alerts: Sequence[PostedAlert]) -> list[Receipt]:
    """Store alerts, of any feeds, in a transaction of their own, each as waiting or as refused.

    A receipt's error is of any kind that `accept_alert` refuses with, or NotAllowedError
    ALERT_SOURCE_NOT_ALLOWED, PERMISSION_DENIED (signature). Nothing is stored of what has a wrong
    address (UnknownAddressError), is larger than MAX_BYTES (BODY_TOO_LARGE), or comes from a
    network that posted too many in this minute (RateLimitedError).
    Raises CommitUnansweredError.
    """
    is_written = False
    try:
        with transaction.atomic(durable=True):
            receipts = _received(alerts)
            is_written = True
        return receipts
    except (DatabaseError, InterfaceError) as error:
        if is_written and is_lost(error):
            raise CommitUnansweredError from error
        raise


def _received(alerts: Sequence[PostedAlert]) -> list[Receipt]:
    """Store alerts in two exchanges with the database and one with Redis; two if any is refused.

    One more for each alert that names another signal, or that has faults: they are read beside what
    the feed has published.
    """
    # Tokens are looked up before their owners are known. Others do not wait long for a locked feed.
    pairs = [(alert.feed_slug, alert.secret) for alert in alerts]
    query = query_of(secret for _, secret in pairs)
    *_, found = exchange([REACH_ALL_TENANTS, (_LOCK_TIMEOUT, None), query])
    checked = list(map(_checked, alerts, addresses_in(pairs, found)))
    _count(alerts, checked)
    receipts = receipts_of(list(map(_judged, alerts, checked)))
    stored = [receipt.alert for receipt in receipts if receipt.alert is not None]
    if stored:
        (inserted,) = exchange([(_INSERT, _columns(stored))])
        for alert, row in zip(stored, sorted(inserted), strict=True):
            alert.pk = row.id
    return receipts


_LOCK_TIMEOUT = "SELECT set_config('lock_timeout', '300ms', true)"


def _count(
    alerts: Sequence[PostedAlert], checked: Sequence["_Checked | Refused | Receipt"]
) -> None:
    """Count alerts by network, and those of known senders by feed, in one exchange with Redis.

    What is from elsewhere, or unsigned, must not use up the limit of the others.
    """
    new = [pair for pair in zip(alerts, checked, strict=True) if pair[0].pauses is None]
    calls = [(alerts_from(alert.address), ALERTS_PER_ADDRESS) for alert, _ in new]
    calls += [alerts_of(to.feed) for _, to in new if isinstance(to, _Checked)]
    pauses = map(seconds_of, count_calls(calls))
    of_networks = list(islice(pauses, len(new)))
    for (alert, to), of_network in zip(new, of_networks, strict=True):
        alert.pauses = (of_network, next(pauses) if isinstance(to, _Checked) else 0)


def _judged(alert: PostedAlert, checked: "_Checked | Refused | Receipt") -> Receipt | Refused:
    by_network, by_feed = alert.pauses or (0, 0)
    if by_network:
        return Receipt(None, RateLimitedError(by_network))
    if not isinstance(checked, _Checked):
        return checked
    return judged_alert(
        checked.feed, alert.body, checked.sent, is_signed=checked.is_signed, wait=by_feed,
        since=alert.arrived_at,
    )  # fmt: skip


def alerts_from(address: str) -> str:
    """Return the name by which the alerts from a network address are counted."""
    return f"alerts-from:{network_of(address)}"


_STORED = {
    "feed_id": "bigint", "token_id": "bigint", "address": "inet", "body": "bytea",
    "symbol": "text", "state": "text", "entry_until": "timestamptz", "expires_at": "timestamptz",
    "received_at": "timestamptz", "settled_at": "timestamptz", "code": "text", "detail": "text",
    "refusal": "text", "errors": "jsonb",
}  # fmt: skip
# The other columns have defaults. Numbers are given out in the order of the rows.
_INSERT = Query(
    IdRow,
    f"INSERT INTO alerts_incomingalert ({', '.join(_STORED)}) SELECT {', '.join(_STORED)}"
    f" FROM unnest({', '.join(f'%s::{kind}[]' for kind in _STORED.values())})"
    f" WITH ORDINALITY AS t({', '.join(_STORED)}, place) ORDER BY place RETURNING id",
)


def _columns(alerts: Sequence[IncomingAlert]) -> list[list[Any]]:
    """Return the values of each column, of all alerts."""
    columns = {name: [getattr(alert, name) for alert in alerts] for name in _STORED}
    return list((columns | {"errors": [Jsonb(one) for one in columns["errors"]]}).values())


@dataclass(frozen=True, slots=True)
class _Checked:
    """An alert's feed, whose sender may send alerts to it. sent: columns of its row."""

    feed: Feed
    sent: Mapping[str, Any]
    is_signed: bool


def _checked(alert: PostedAlert, to: AlertAddress | None) -> _Checked | Refused | Receipt:
    """Return an alert whose address, network and signature are right, or why it is refused."""
    if len(alert.body) > MAX_BYTES:
        return Receipt(None, InvalidInputError(Code.BODY_TOO_LARGE))
    if to is None:
        return Receipt(None, UnknownAddressError())
    sent = {
        "token_id": to.token_id,
        "address": alert.address or None,
        "received_at": alert.arrived_at,
    }
    try:
        signing_key = open_signing_key(to.signing_key, alert.secret, to.prefix)
        require_source(to.feed, alert.address)
        _verify_signature(to.feed, signing_key, alert.body, alert.signature)
    except NotAllowedError as error:
        return Refused(to.feed, alert.body, error, sent)
    except InvalidInputError:  # the key is sealed for another secret
        return Receipt(None, UnknownAddressError())
    return _Checked(to.feed, sent, bool(signing_key))


@transaction.atomic
def alert_sent_with(*, feed_slug: str, secret: str, alert_id: int, address: str) -> IncomingAlert:
    """Return an alert that was posted with this token, for a reader at a network address; the
    transaction then acts for the feed's owner.

    Raises InvalidInputError FEED_UNKNOWN, NotAllowedError ALERT_SOURCE_NOT_ALLOWED,
    IncomingAlert.DoesNotExist.
    """
    with for_all_tenants():
        to = address_of(feed_slug, secret)
        owner = to.feed.owner
    require_source(to.feed, address)
    act_as(owner)
    return IncomingAlert.objects.get(pk=alert_id, feed_id=to.feed.pk, token_id=to.token_id)


def _verify_signature(feed: Feed, signing_key: str, body: bytes, signature: str) -> None:
    if not signing_key:
        if feed.alerts_signed_only:
            detail = "The feed accepts only signed alerts: use an address with a signing key."
            raise NotAllowedError(Code.PERMISSION_DENIED, detail)
        return
    expected = signature_of(signing_key, body)
    if not hmac.compare_digest(expected.encode(), signature.encode()):
        detail = "X-Fillcast-Signature is not the HMAC-SHA256 of this body under the token's key."
        raise NotAllowedError(Code.PERMISSION_DENIED, detail)
