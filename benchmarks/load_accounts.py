"""The accounts of `load`: tenants with paper accounts, accounts at a broker over HTTP, sessions."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple
from uuid import UUID

from django.conf import settings
from django.test import Client
from django.utils import timezone

from benchmarks.data import BenchData
from benchmarks.environment import BenchEnvironment, report_progress
from benchmarks.programs import Program
from benchmarks.slow_broker import accounts_there, broker_running
from common.clocks import market_now
from common.operational.source import VARIABLE, with_settings
from config.env import Settings
from connections.models import ExecutionConnection, TradingPreset
from signals.models import Feed
from tests.fakes.dwx.terminal import Terminal
from tests.fakes.session_brokers import SYMBOL, folder_name, ibkr_account
from users.models import User

PER_TENANT = 20
READY_SECONDS = 900.0
SETTINGS = {"networks.broker_networks": ["127.0.0.0/8"]}
UNREADY = """
SELECT count(*) FROM connections_executionconnection c
JOIN connections_connectionhealth h ON h.connection_id = c.id
WHERE c.id = ANY(%s) AND (h.status <> 'ACTIVE' OR h.reconciled_at IS NULL)
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

    def share(self, share: float) -> "Mix":
        """Return as many accounts of each kind as this share of them, but one at least."""
        return Mix(**{kind: max(round(share * count), 1) for kind, count in asdict(self).items()
                      if kind != "feeds"}, feeds=self.feeds)  # fmt: skip


class Accounts(NamedTuple):
    """What was made. browsing: for each tenant a cookie and one of the accounts."""

    feeds: list[Feed]
    browsing: list[tuple[str, str]]
    of_sessions: list[UUID]


@contextmanager
def load_accounts(environment: BenchEnvironment, data: BenchData, mix: Mix) -> Iterator[Accounts]:
    """Make accounts, tenants and feeds, and run their brokers; within, the stack trades for them.

    Afterwards those of fakes are archived, since their brokers have ended.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="fillcast-bench-")))
        stack.enter_context(broker_running(environment))
        kinds = (mix.ibkr, mix.mt4, mix.mt5)
        doubles = stack.enter_context(
            Program("tests.fakes.session_brokers", folder / "root", folder / "state", *kinds)
        )
        more = {
            VARIABLE: with_settings(environment.stack.environ.get(VARIABLE, ""), SETTINGS),
            "FILLCAST_MT4_ROOT": str(folder / "root"),
        }
        stack.enter_context(environment.more_environ(more))
        stored = data.connections(mix.paper + mix.http)
        stack.enter_context(accounts_there(stored[mix.paper :]))
        accounts = _made(environment, data, mix, stored, ports=doubles.read())
        stack.callback(_archive, accounts)
        environment.run(workers=2)
        stack.callback(environment.run, workers=0)
        report_progress(f"  {len(accounts.of_sessions)} accounts with sessions are tested …")
        environment.wait(
            lambda: not environment.sql(UNREADY, accounts.of_sessions)[0][0],
            seconds=READY_SECONDS, every=1.0,
        )  # fmt: skip
        data.refresh()
        yield accounts


def _made(
    environment: BenchEnvironment, data: BenchData, mix: Mix, stored: list[UUID], ports: list[int]
) -> Accounts:
    sessions = _sessions(environment, data, mix, ports)
    kinds = [stored[: mix.paper], stored[mix.paper :], sessions]
    parts = [[one for kind in kinds for one in kind[part :: mix.feeds]]
             for part in range(mix.feeds)]  # fmt: skip
    browsing = _tenants([one for part in parts for one in part])
    return Accounts(data.shared_feeds("load", parts), browsing, sessions)


def _archive(accounts: Accounts) -> None:
    now, feeds = market_now(), [feed.pk for feed in accounts.feeds]
    sessions = ExecutionConnection.objects.filter(pk__in=accounts.of_sessions)
    sessions.update(is_active=False, archived_at=now)
    Feed.objects.filter(pk__in=feeds).update(archived_at=now)


def _tenants(ids: Sequence[UUID]) -> list[tuple[str, str]]:
    """Give each tenant accounts that follow one another, and sign the tenant in."""
    first = User.objects.count()
    browsing = []
    for number, start in enumerate(range(0, len(ids), PER_TENANT)):
        part = ids[start : start + PER_TENANT]
        user = User.objects.create(username=f"load-{first + number}")
        own = ExecutionConnection.objects.filter(pk__in=part)
        own.exclude(type__startswith="mt").update(user=user)
        client = Client()
        client.force_login(user)
        browsing.append((client.cookies[settings.SESSION_COOKIE_NAME].value, str(part[0])))
    return browsing


def _sessions(
    environment: BenchEnvironment, data: BenchData, mix: Mix, ports: list[int]
) -> list[UUID]:
    """Store an account at each gateway and terminal; the product tests them automatically."""
    own = Settings.read(environment.stack.environ)  # credentials and cookies need the stack's keys
    settings.FILLCAST_CREDENTIALS_PUBLIC_KEY = own.credentials_public_key
    settings.SECRET_KEY = own.secret_key
    # The gateways' what-if answers the same margin for any quantity, so it is asked for this one.
    preset = TradingPreset.objects.create(
        name="sessions", risk_percent=Decimal("0.1"), sizing_mode="FIXED",
        fixed_quantity=Decimal(10_000),
    )  # fmt: skip
    shared: dict[str, Any] = {
        "preset": preset, "data_connection": data.source,
        "user": User.objects.create(username=f"sessions-{User.objects.count()}"),
    }  # fmt: skip
    ids: list[UUID] = []
    for kind, places in _places(mix, ports).items():
        new: list[UUID] = []
        for account, place in places:
            row = ExecutionConnection(
                name=f"{kind} {account}", type=kind, account=account, settings=place, **shared
            )
            row.save()
            if kind != "ibkr":
                row.set_credential("password", Terminal.key)
            new.append(row.pk)
        data.complete(new, "NETTING" if kind == "ibkr" else "HEDGING",
                      test_requested_at=timezone.now() - timedelta(seconds=1))  # fmt: skip
        ids += new
    return ids


def _places(mix: Mix, ports: list[int]) -> dict[str, list[tuple[str, dict[str, Any]]]]:
    """Return the account and the settings of each session, by broker type."""
    gateway = {"host": "127.0.0.1", "symbols": [SYMBOL], "timezone": "UTC"}
    terminal = {"symbols": [SYMBOL], "server_zone": "UTC+2"}
    return {
        "ibkr": [(ibkr_account(n), {**gateway, "port": port}) for n, port in enumerate(ports)],
        "mt4": [("4711", {**terminal, "folder": folder_name(n, is_mt5=False)})
                for n in range(mix.mt4)],
        "mt5-dwx": [("4711", {**terminal, "folder": folder_name(n, is_mt5=True), "hedging": True})
                    for n in range(mix.mt5)],
    }  # fmt: skip
