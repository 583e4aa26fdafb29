"""How often something secret may be guessed: counted in the database, before it is looked at.

A try is counted in a transaction of its own, so that it counts whatever becomes of its answer; and
before the guess is judged, so that of many at once no more are judged than may be. What was right
is taken back. Redis is not asked: it may be away.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import IPv6Address, ip_address, ip_network

from django.db import models, transaction
from django.http import HttpRequest
from django.utils import timezone
from django.utils.crypto import salted_hmac

from common.sql import rows
from users.models import TryCount


class TooManyAttemptsError(Exception):
    """It was tried too often; `retry_after` says for how many seconds nothing is looked at."""

    def __init__(self, retry_after: int) -> None:
        super().__init__(f"too many tries, again in {retry_after} s")
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `most` wrong tries of one `key` in `within`; the first try begins that time."""

    scope: str
    key: str
    most: int
    within: timedelta

    @property
    def digest(self) -> str:
        """What is stored. People type passwords into the field for names: who reads the table must
        not be able to try guesses against it without FILLCAST_SECRET_KEY."""
        said = self.key.encode("utf-8", "replace")
        return salted_hmac("users.tries", said, algorithm="sha256").hexdigest()


_COUNT = """
INSERT INTO users_trycount AS c (scope, digest, tries, ends_at)
VALUES (%(scope)s, %(digest)s, 1, clock_timestamp() + %(within)s)
ON CONFLICT (scope, digest) DO UPDATE SET
  tries = CASE WHEN c.ends_at <= clock_timestamp() THEN 1 ELSE c.tries + 1 END,
  ends_at = CASE WHEN c.ends_at <= clock_timestamp() THEN excluded.ends_at ELSE c.ends_at END
RETURNING tries, ceil(extract(epoch FROM ends_at - clock_timestamp()))::int AS seconds
"""


def count_attempt(limits: Sequence[Limit]) -> None:
    """Count one more try against each limit. Raises TooManyTriesError, and then counts none.

    The order of the limits is the order of the locks: let everybody name them in the same one.
    """
    with transaction.atomic():
        for limit in limits:
            named = {"scope": limit.scope, "digest": limit.digest, "within": limit.within}
            (row,) = rows(_COUNT, named)
            if row.tries > limit.most:
                raise TooManyAttemptsError(max(1, row.seconds))


def undo_attempt(limits: Sequence[Limit], *, forget: Sequence[Limit] = ()) -> None:
    """The try was right: it does not count. forget: of these no earlier one counts either."""
    with transaction.atomic():
        for limit in limits:
            mine = TryCount.objects.filter(scope=limit.scope, digest=limit.digest)
            if limit in forget:
                mine.delete()
            else:
                mine.filter(tries__gt=0).update(tries=models.F("tries") - 1)


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
    """Keep a fact for the limit's time, and remove some of what ended long ago."""
    named = {"scope": fact.scope, "digest": fact.digest, "within": fact.within}
    with transaction.atomic():
        rows(_REMEMBER, named)
        rows(_REMOVE_ENDED)


def is_remembered(fact: Limit) -> bool:
    """Whether `remember` was called for it, and not too long ago."""
    found = TryCount.objects.filter(scope=fact.scope, digest=fact.digest)
    return found.filter(ends_at__gt=timezone.now()).exists()


def client_address(request: HttpRequest) -> str:
    """Return who asks: what the socket says, or a proxy that the settings name
    (config/middleware/proxies.py)

    An IPv6 network of 64 bits is one customer's, so it counts as one."""
    said = request.META.get("REMOTE_ADDR", "")
    try:
        address = ip_address(said)
    except ValueError:
        return str(said)[:60]
    if isinstance(address, IPv6Address):
        address = IPv6Address(int(address))  # without its zone
        if address.ipv4_mapped:
            return str(address.ipv4_mapped)
        return str(ip_network(f"{address}/64", strict=False))
    return str(address)
