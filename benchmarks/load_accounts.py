"""The accounts of `load`: tenants with paper accounts, accounts at a broker over HTTP, sessions."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.conf import settings
from django.utils import timezone

from benchmarks.data import BALANCE, BenchData
from benchmarks.environment import BenchEnvironment, BenchError, report_progress
from benchmarks.session_doubles import Doubles, folder_name, ibkr_account
from common.clocks import market_now
from connections.models import (
    AccountSnapshot,
    ConnectionHealth,
    ConnectionLock,
    ExecutionConnection,
    TradingPreset,
)
from signals.models import Feed
from tests.fakes.dwx.terminal import Terminal
from users.models import User

PER_TENANT = 20
READY_SECONDS = 900.0
UNREADY = """
SELECT count(*) FROM connections_executionconnection c
JOIN connections_connectionhealth h ON h.connection_id = c.id
WHERE c.id = ANY(%s) AND (h.status <> 'ACTIVE' OR h.reconciled_at IS NULL)
"""
WHY = """
SELECT c.type, h.status, left(h.last_error, 150), count(*) FROM connections_executionconnection c
JOIN connections_connectionhealth h ON h.connection_id = c.id WHERE c.id = ANY(%s)
GROUP BY 1, 2, 3 ORDER BY 4 DESC LIMIT 8
"""


@dataclass(frozen=True, slots=True)
class Mix:
    """How many accounts of each kind. Feeds share all of them evenly."""

    paper: int = 1_600
    http: int = 200
    ibkr: int = 140
    mt4: int = 40
    mt5: int = 20
    feeds: int = 40

    @property
    def all(self) -> int:
        """The number of all accounts."""
        return self.paper + self.http + self.ibkr + self.mt4 + self.mt5

    def share(self, share: float) -> "Mix":
        """Return as many accounts of each kind as this share of them, but one at least."""
        return Mix(**{kind: max(round(share * count), 1) for kind, count in asdict(self).items()
                      if kind != "feeds"}, feeds=self.feeds)  # fmt: skip

    @property
    def of_a_feed(self) -> int:
        """How many accounts one signal reaches."""
        return self.all // self.feeds


@dataclass(slots=True)
class Accounts:
    """What was made. browsing: for each tenant the user and one of the accounts."""

    feeds: list[Feed] = field(default_factory=list)
    browsing: list[tuple[User, UUID]] = field(default_factory=list)
    of_sessions: list[UUID] = field(default_factory=list)


@contextmanager
def made(
    environment: BenchEnvironment, data: BenchData, mix: Mix, doubles: Doubles
) -> Iterator[Accounts]:
    """Make the accounts, their tenants and feeds; afterwards those of doubles are archived."""
    stored = data.connections(mix.paper + mix.http)
    over_http = stored[mix.paper :]
    owned = ExecutionConnection.objects.filter(pk__in=over_http)
    owned.update(type="slow")
    accounts = Accounts()
    accounts.of_sessions = _sessions(environment, data, doubles)
    everyone = _mixed([stored[: mix.paper], over_http, accounts.of_sessions], mix.feeds)
    accounts.browsing = _tenants([one for part in everyone for one in part])
    first = Feed.objects.count()
    for number, part in enumerate(everyone):
        feed = Feed.objects.create(
            slug=f"load-{first}-{number}", name=f"load {number}", owner=data.operator,
            is_approved=True,
        )  # fmt: skip
        data.subscribe(feed, part)
        accounts.feeds.append(feed)
    environment.sql("VACUUM ANALYZE")
    try:
        yield accounts
    finally:
        owned.update(type="paper")
        ExecutionConnection.objects.filter(pk__in=accounts.of_sessions).update(
            is_active=False, archived_at=market_now()
        )
        Feed.objects.filter(pk__in=[feed.pk for feed in accounts.feeds]).update(
            archived_at=market_now()
        )


def wait_ready(environment: BenchEnvironment, accounts: Accounts) -> None:
    """Wait until the product has tested and reconciled all accounts with sessions."""
    ids = accounts.of_sessions
    report_progress(f"  waiting for the tests of {len(ids)} accounts with sessions …")
    try:
        environment.wait(
            lambda: not environment.sql(UNREADY, ids)[0][0], seconds=READY_SECONDS, every=1.0
        )
    except BenchError:
        for line in environment.sql(WHY, ids):
            report_progress(f"  {line}")
        raise


def _mixed(kinds: Sequence[Sequence[UUID]], feeds: int) -> list[list[UUID]]:
    """Return the accounts of each feed: of each kind the same share."""
    return [[one for kind in kinds for one in kind[number::feeds]] for number in range(feeds)]


def _tenants(ids: Sequence[UUID]) -> list[tuple[User, UUID]]:
    """Give each tenant accounts that follow one another."""
    first = User.objects.count()
    browsing = []
    for number, start in enumerate(range(0, len(ids), PER_TENANT)):
        part = ids[start : start + PER_TENANT]
        user = User.objects.create(username=f"load-{first + number}")
        ExecutionConnection.objects.filter(pk__in=part).exclude(type__startswith="mt").update(
            user=user
        )
        browsing.append((user, part[0]))
    return browsing


def _sessions(environment: BenchEnvironment, data: BenchData, doubles: Doubles) -> list[UUID]:
    """Store an account at each gateway and terminal; the product tests them automatically."""
    _use_keys(environment)
    # The gateways' what-if answers the same margin for any quantity, so it is asked for this one.
    preset = TradingPreset.objects.create(
        name="sessions", risk_percent=Decimal("0.1"), sizing_mode="FIXED",
        fixed_quantity=Decimal(10_000),
    )  # fmt: skip
    shared: dict[str, Any] = {"preset": preset, "data_connection": data.source}
    user = User.objects.create(username=f"sessions-{User.objects.count()}")
    rows = []
    for number, port in enumerate(doubles.ports):
        place = {"host": "127.0.0.1", "port": port, "symbols": [SYMBOL], "timezone": "UTC"}
        rows.append(_stored(user, "ibkr", ibkr_account(number), place, **shared))
    for is_mt5, count in ((False, doubles.mt4), (True, doubles.mt5)):
        for number in range(count):
            folder = folder_name(number, is_mt5=is_mt5)
            place = {"folder": folder, "symbols": [SYMBOL], "server_zone": "UTC+2"}
            more = {"hedging": True} if is_mt5 else {}
            kind = "mt5-dwx" if is_mt5 else "mt4"
            rows.append(_stored(user, kind, "4711", place | more, key=Terminal.key, **shared))
    return [row.pk for row in rows]


SYMBOL = "EURUSD"


def _stored(
    user: User, kind: str, account: str, place: dict[str, Any], *, key: str = "", **shared: Any
) -> ExecutionConnection:
    row = ExecutionConnection(
        user=user, name=f"{kind} {account}", type=kind, account=account, settings=place, **shared
    )
    row.save()
    if key:
        row.set_credential("password", key)
    ConnectionHealth.objects.create(
        connection=row, test_requested_at=timezone.now() - timedelta(seconds=1)
    )
    ConnectionLock.objects.create(connection=row)
    AccountSnapshot.objects.create(
        connection=row, currency="USD", balance=BALANCE, equity=BALANCE, margin_used=Decimal(0),
        free_margin=BALANCE, leverage=Decimal(30),
        position_mode="NETTING" if kind == "ibkr" else "HEDGING", read_at=timezone.now(),
    )  # fmt: skip
    return row


def _use_keys(environment: BenchEnvironment) -> None:
    """Seal credentials and sign cookies with the stack's own keys."""
    from config.env import Settings

    own = Settings.read(environment.stack.environ)
    settings.FILLCAST_CREDENTIALS_PUBLIC_KEY = own.credentials_public_key
    settings.SECRET_KEY = own.secret_key
