"""Limits on guessing secrets: passwords and one-time codes.

Each attempt is counted in its own transaction, so that it counts even if the request fails, and
before the guess is checked, so that concurrent attempts cannot exceed the limit. A right guess is
taken back. The counts are in the database, since Redis may be down.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import IPv6Address, ip_address, ip_network

from django.db import models, transaction
from django.http import HttpRequest
from django.utils import timezone
from django.utils.crypto import salted_hmac

from common.db.sql import rows
from users.models import TryCount


class TooManyAttemptsError(Exception):
    """There were too many attempts. retry_after: seconds for which further ones are refused."""

    def __init__(self, retry_after: int) -> None:
        super().__init__(f"too many attempts, try again in {retry_after} s")
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `most` wrong attempts of one `key` within `within` of the first one."""

    scope: str
    key: str
    most: int
    within: timedelta

    @property
    def digest(self) -> str:
        """The key as stored. It is a MAC, because people type passwords into the name field:
        a reader of the table cannot test guesses without FILLCAST_SECRET_KEY."""
        key = self.key.encode("utf-8", "replace")
        return salted_hmac("users.tries", key, algorithm="sha256").hexdigest()


_COUNT = """
INSERT INTO users_trycount AS c (scope, digest, tries, ends_at)
VALUES (%(scope)s, %(digest)s, 1, clock_timestamp() + %(within)s)
ON CONFLICT (scope, digest) DO UPDATE SET
  tries = CASE WHEN c.ends_at <= clock_timestamp() THEN 1 ELSE c.tries + 1 END,
  ends_at = CASE WHEN c.ends_at <= clock_timestamp() THEN excluded.ends_at ELSE c.ends_at END
RETURNING tries, ceil(extract(epoch FROM ends_at - clock_timestamp()))::int AS seconds
"""


def count_attempt(limits: Sequence[Limit]) -> None:
    """Count one attempt against each limit. Raises TooManyAttemptsError, and then counts none.

    The limits are locked in this order: all callers must use the same one.
    """
    with transaction.atomic():
        for limit in limits:
            values = {"scope": limit.scope, "digest": limit.digest, "within": limit.within}
            (row,) = rows(_COUNT, values)
            if row.tries > limit.most:
                raise TooManyAttemptsError(max(1, row.seconds))


def undo_attempt(limits: Sequence[Limit], *, forget: Sequence[Limit] = ()) -> None:
    """Take back a right attempt. forget: limits whose earlier attempts are dropped, too."""
    with transaction.atomic():
        for limit in limits:
            counted = TryCount.objects.filter(scope=limit.scope, digest=limit.digest)
            if limit in forget:
                counted.delete()
            else:
                counted.filter(tries__gt=0).update(tries=models.F("tries") - 1)


_REMEMBER = """
INSERT INTO users_trycount (scope, digest, tries, ends_at)
VALUES (%(scope)s, %(digest)s, 0, clock_timestamp() + %(within)s)
ON CONFLICT (scope, digest) DO UPDATE SET ends_at = excluded.ends_at RETURNING 1 AS done
"""
_REMOVE_ENDED = """
WITH ended AS (SELECT id FROM users_trycount WHERE ends_at < clock_timestamp() - interval '1 day'
  ORDER BY ends_at LIMIT 1000 FOR UPDATE SKIP LOCKED)
DELETE FROM users_trycount WHERE id IN (SELECT id FROM ended) RETURNING 1 AS done
"""


def remember(fact: Limit) -> None:
    """Store a fact for the limit's time. Also removes some counts that ended long ago."""
    values = {"scope": fact.scope, "digest": fact.digest, "within": fact.within}
    with transaction.atomic():
        rows(_REMEMBER, values)
        rows(_REMOVE_ENDED)


def is_remembered(fact: Limit) -> bool:
    """Whether `remember` was called for this fact within its time."""
    counts = TryCount.objects.filter(scope=fact.scope, digest=fact.digest)
    return counts.filter(ends_at__gt=timezone.now()).exists()


def client_address(request: HttpRequest) -> str:
    """Return the client's address: the socket's, or what a trusted proxy states.

    config/middleware/proxies.py trusts proxies. An IPv6 address counts as its /64 network, which
    belongs to one customer.
    """
    return network_of(request.META.get("REMOTE_ADDR", ""))


def network_of(text: str) -> str:
    """Return an address as it is counted: an IPv6 address as its /64 network."""
    try:
        address = ip_address(text)
    except ValueError:
        return str(text)[:60]
    if isinstance(address, IPv6Address):
        address = IPv6Address(int(address))  # without its zone
        if address.ipv4_mapped:
            return str(address.ipv4_mapped)
        return str(ip_network(f"{address}/64", strict=False))
    return str(address)
