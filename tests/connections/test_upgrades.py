"""Rows of older versions, migrated to the newest by `manage.py migrate`, in a database of their
own."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from django.db import connection
from psycopg.sql import SQL, Identifier

from config.settings import BASE_DIR

# A third party's kind: numbers count within a server, and accounts of a server share a session.
KIND = """
from types import SimpleNamespace

from brokers.form import Form, Setting

FORM = Form(settings=(Setting("server", "Server"),), label="Acme", numbered_by="server")


def capabilities_of(spec):
    return SimpleNamespace(session=True, session_key="acme", lane="")


def create():
    raise ImportError("acme")
"""
PRESET: dict[str, Any] = {
    "sizing_mode": "RISK", "multiplier": 1, "small_multiplier": 1, "normal_multiplier": 1,
    "large_multiplier": 1, "max_open_positions": 1, "max_leverage": 1,
    "max_portfolio_risk_percent": 1, "max_signal_age_seconds": 60, "risk_percent": 1,
}  # fmt: skip
BEFORE_SCOPES, BEFORE_CLAIMS = "0011", "0013"


@pytest.fixture
def older(db: None) -> Iterator[str]:
    """The address of an empty database."""
    s = connection.settings_dict
    server = f"postgresql://{s['USER']}:{s['PASSWORD']}@{s['HOST']}:{s['PORT']}"
    name = f"older_{uuid4().hex[:12]}"
    with psycopg.connect(f"{server}/postgres", autocommit=True) as admin:
        admin.execute(SQL("CREATE DATABASE {}").format(Identifier(name)))
        try:
            yield f"{server}/{name}"
        finally:
            admin.execute(SQL("DROP DATABASE {} WITH (FORCE)").format(Identifier(name)))


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    """Where the third party's package is installed."""
    (tmp_path / "acme_kind.py").write_text(KIND)
    info = tmp_path / "acme-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[fillcast.brokers]\nacme = acme_kind:create\n")
    return tmp_path


def migrate(database: str, *target: str, packages: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "manage.py", "migrate", "--verbosity", "0", *target],
        env={**os.environ, "DATABASE_URL": database, "PYTHONPATH": str(packages)},
        cwd=BASE_DIR, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr[-2000:]


def owner(session: psycopg.Connection[Any]) -> int:
    """A user, with whatever columns must be said by now."""
    key: int = insert(session, "users_user", username=uuid4().hex, returning="id")
    return key


def account(
    session: psycopg.Connection[Any], of: int, type: str, number: str, status: str = "ACTIVE",
    settings: Any = None, **fields: Any,
) -> str:  # fmt: skip
    key: str = insert(
        session, "connections_executionconnection", id=uuid4(), user_id=of, type=type,
        account=number, name=f"{type} {number}", settings=json.dumps(settings or {}),
        is_active=True, returning="id", **fields,
    )  # fmt: skip
    insert(session, "connections_connectionhealth", connection_id=key, status=status)
    return str(key)


def insert(session: psycopg.Connection[Any], table: str, returning: str = "", **fields: Any) -> Any:
    """One row; what must be said and is not said here is empty, zero, false or now."""
    columns = session.execute(
        "SELECT column_name, data_type FROM information_schema.columns WHERE table_name = %s"
        " AND is_nullable = 'NO' AND column_default IS NULL AND is_identity = 'NO'"
        " AND is_generated = 'NEVER'",
        (table,),
    ).fetchall()
    empty = {"boolean": False, "timestamp with time zone": "now", "jsonb": "{}"}
    said = {
        name: empty.get(kind, 0 if "int" in kind or kind == "numeric" else "")
        for name, kind in columns
    } | fields
    done = session.execute(
        SQL("INSERT INTO {} ({}) VALUES ({}) RETURNING {}").format(
            Identifier(table), SQL(",").join(map(Identifier, said)),
            SQL(",").join([SQL("%s")] * len(said)), Identifier(returning or next(iter(fields))),
        ),
        list(said.values()),
    )  # fmt: skip
    return (done.fetchone() or [None])[0]


@pytest.mark.slow
def test_accounts_that_one_claim_would_be_given_twice_are_upgraded_and_tested_anew(
    older: str, packages: Path
) -> None:
    """Rows from before there were scopes beside rows that had one from the start."""
    migrate(older, "connections", BEFORE_SCOPES, packages=packages)
    with psycopg.connect(older, autocommit=True) as session:
        alice, bob = owner(session), owner(session)
        mt5 = account(session, alice, "mt5", "4", settings={"server": " Alpha"})
        failing = account(session, alice, "mt5", "5", "ERROR", {"server": "Alpha"})
        untested = account(session, alice, "paper", "1", "UNTESTED")
        named = account(session, alice, "crypto", "main", exchange_name="kraken")
        gone = account(session, alice, "gone", "3")
        mine = account(session, alice, "acme", "7", settings={"server": "Alpha"})
        gateways = [
            account(session, bob, "ibkr", f"U{number}", settings={"host": host})
            for number, host in enumerate(("127.0.0.1", "GW.example.com.", "8.8.8.8"))
        ]
        folders = [
            account(session, of, "mt4", number, settings={"folder": folder}, lane=lane)
            for of, number, folder, lane in (
                (alice, "1", "One", "sessions.7"), (bob, "2", "one", "sessions.2"),
            )
        ]  # fmt: skip
    migrate(older, "connections", BEFORE_CLAIMS, packages=packages)
    with psycopg.connect(older, autocommit=True) as session:
        # As the version of that time saved them: with the scope that their form said.
        twice = account(session, bob, "acme", "7", settings={"server": "Alpha"},
                        account_scope="alpha")  # fmt: skip
        again = account(session, bob, "mt5", "4", settings={"server": "Alpha"})
    migrate(older, packages=packages)
    with psycopg.connect(older) as session:
        found = {
            str(key): (claim, needs_test, is_asked)
            for key, claim, needs_test, is_asked in session.execute(
                "SELECT c.id, c.claim, h.needs_test, h.test_requested_at IS NOT NULL FROM"
                " connections_executionconnection c JOIN connections_connectionhealth h"
                " ON h.connection_id = c.id"
            )
        }
        in_lanes = session.execute(
            "SELECT DISTINCT lane FROM connections_executionconnection WHERE type = 'mt4'"
        ).fetchall()
        settled = session.execute("SELECT session_key, lane FROM connections_sessionlane")
        assert settled.fetchall() == [("mt4 one", "sessions.7")]
    assert in_lanes == [("sessions.7",)]
    for key in (mine, twice, again, gone):
        assert found[key] == ("", False, True), "tested anew: that claims, or says who has it"
    assert found[untested] == ("", True, False)
    assert found[named] == ("", False, False)
    claims = [found[key][0] for key in (mt5, failing, *folders, *gateways)]
    assert claims == [
        "mt5||alpha|4|", "mt5||alpha|5|", "mt4||one|1|", "mt4||one|2|",
        "ibkr|||U0|127.0.0.1", "ibkr|||U1|gw.example.com", "ibkr|||U2|8.8.8.8",
    ]  # fmt: skip


@pytest.mark.slow
def test_slippage_limits_keep_their_unit_and_interrupted_migrations_run_again(
    older: str, packages: Path
) -> None:
    """The units come with connections 0028 and signals 0010; of two steps without a transaction
    the first half was done before."""
    for app, before in (
        ("connections", "0027"), ("signals", "0009"), ("execution", "0020"), ("positions", "0008"),
    ):  # fmt: skip
        migrate(older, app, before, packages=packages)
    with psycopg.connect(older, autocommit=True) as session:
        alice = owner(session)
        insert(session, "connections_tradingpreset", name="limit", user_id=alice,
               max_slippage_pips=50, slippage_alert_threshold_pips=5, **PRESET)  # fmt: skip
        insert(session, "connections_tradingpreset", name="alert", user_id=alice,
               slippage_alert_threshold_pips=8, **PRESET)  # fmt: skip
        insert(session, "connections_tradingpreset", name="neither", user_id=alice,
               slippage_alert_threshold_pips=5, **PRESET)  # fmt: skip
        feed = insert(session, "signals_feed", name="f", slug="f", owner_id=alice, is_approved=True,
                      returning="id")  # fmt: skip
        said = {"feed_id": feed, "currency_pair": "BTC/USDT", "direction": "BUY", "action": "OPEN",
                "order_type": "MARKET", "target_prices": [], "target_fractions": [],
                "close_fraction": 1}  # fmt: skip
        insert(session, "signals_signal", **said, approval="APPROVED", max_slippage_pips=50)
        insert(session, "signals_signal", **said, approval="PENDING", max_slippage_pips=50)
        insert(session, "signals_signal", **said, approval="APPROVED")
        for interrupted in (
            "ALTER TABLE execution_order ADD COLUMN waiting_since timestamptz",
            "CREATE INDEX order_waiting ON execution_order (connection_id)",
            "ALTER TABLE positions_executionposition ADD COLUMN levels_told_at timestamptz",
            "CREATE INDEX position_levels_next ON positions_executionposition (id)",
        ):
            session.execute(interrupted)
    migrate(older, packages=packages)
    with psycopg.connect(older, autocommit=True) as session:
        assert dict(
            session.execute("SELECT name, slippage_unit FROM connections_tradingpreset").fetchall()
        ) == {"limit": "PIPS", "alert": "PIPS", "neither": ""}
        signals = "SELECT approval, max_slippage_unit FROM signals_signal ORDER BY id"
        assert session.execute(signals).fetchall() == [
            ("APPROVED", "PIPS"), ("PENDING", "PIPS"), ("APPROVED", ""),
        ]  # fmt: skip


@pytest.mark.slow
def test_channels_go_on_and_e_mail_addresses_get_the_link_once(older: str, packages: Path) -> None:
    """Addresses are confirmed since events 0012."""
    migrate(older, "events", "0011", packages=packages)
    with psycopg.connect(older, autocommit=True) as session:
        alice = owner(session)
        hook, mail, off = (
            insert(session, "events_channel", user_id=alice, name=name, url_shown=shown,
                   url_sealed=b"x", key=uuid4(), is_active=name != "off", returning="id")
            for name, shown in (
                ("hook", "https://hooks.example.com/…"), ("mail", "mailto:alice@example.com"),
                ("off", "mailto:old@example.com"),
            )
        )  # fmt: skip
    migrate(older, "events", packages=packages)
    with psycopg.connect(older, autocommit=True) as session:
        rows = session.execute(
            "SELECT id, confirmed_at IS NOT NULL, confirmation_requested_at IS NOT NULL,"
            " confirm_by > now() + interval '13 days' AND confirm_by <= now() + interval '14 days'"
            " FROM events_channel ORDER BY id"
        ).fetchall()
        events = "SELECT user_id, payload FROM events_event WHERE kind = 'channel.confirmation'"
        asked = session.execute(events).fetchall()
    assert rows == [(hook, True, False, None), (mail, False, True, True), (off, False, True, True)]
    assert asked == [(alice, {"channel_id": mail})]
