"""The demo's PostgreSQL, for what no person can do in the portal, and for what takes days."""

import json
import time
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
from django.contrib.sessions.serializers import JSONSerializer
from django.core import signing

from tests.browser.running_demo import SECRET_KEY

COPIES = """
INSERT INTO positions_executionposition ({columns}, entry_leg)
SELECT {values}, 'c' || n FROM (
  SELECT p.* FROM positions_executionposition p
  JOIN connections_executionconnection c ON c.id = p.connection_id
  JOIN users_user u ON u.id = c.user_id
  WHERE u.username = %(owner)s AND p.closed_at IS NOT NULL ORDER BY p.id LIMIT 1
) one, generate_series(1, %(count)s) n
ON CONFLICT DO NOTHING
"""

Quotes = Mapping[str, tuple[str, str]]
"""Bid and ask of each pair."""
PRICES_SECONDS = 180.0  # until the prices process has found a new source

SESSIONS_SALT = "django.contrib.sessions.SessionStore"
"""Of users/sign_in/session_store.py, as Django forms it from the name of the class."""
OPEN_ACCOUNT = """
INSERT INTO paper_account
SELECT (jsonb_populate_record(one, jsonb_build_object('id',
  nextval(pg_get_serial_sequence('paper_account', 'id')),
  'number', %(number)s::text, 'owner', %(owner)s::text, 'password_hash', '',
  'balance', 10000, 'currency', 'USD'))).*
FROM paper_account one ORDER BY id LIMIT 1
"""
BUY_AT_BROKER = """
INSERT INTO paper_position (id, position, account_id, connection_id, client_order_id, symbol, side,
  quantity, price, opened_at)
SELECT n, n, account.id, '', '', quote.symbol, 'BUY', 1000, quote.ask, quote.time
FROM paper_account account, paper_quote quote, (SELECT 10^12::bigint + max(id) n FROM paper_account)
WHERE account.owner = %(owner)s AND quote.symbol LIKE 'EURUSD%%' LIMIT 1
"""
ADD_SOURCE = """
INSERT INTO connections_dataconnection (name, user_id, kind, settings, is_active, created_at)
SELECT %(name)s, id, 'static', %(settings)s::jsonb, true, now() FROM users_user
WHERE username = %(owner)s
"""
MOVE_SOURCE = """
UPDATE connections_dataconnection SET settings = %(settings)s::jsonb WHERE name = %(name)s
"""
CHANNEL_FOUND = """
INSERT INTO alerts_telegramchat (bot_id, chat_id, kind, title)
SELECT bot.id, -1001234567890, 'channel', 'Signals of mine'
FROM alerts_telegrambot bot JOIN signals_feed feed ON feed.id = bot.feed_id
WHERE feed.slug = %(slug)s
"""


class DemoDatabase:
    def __init__(self, folder: Path) -> None:
        running = json.loads((folder / "running.json").read_text())
        self._url: str = running["DATABASE_URL"]
        self._name = urlsplit(self._url).path.strip("/")

    def copy_closed_trades(self, owner: str, count: int) -> None:
        """Give a tenant this many copies of a closed trade, a second apart."""
        with psycopg.connect(self._url, autocommit=True) as connection:
            found = connection.execute(
                "SELECT column_name FROM information_schema.columns"
                " WHERE table_name = 'positions_executionposition'"
                " AND column_name NOT IN ('id', 'entry_leg')"
            ).fetchall()
            names = [str(name) for (name,) in found]
            values = [
                "closed_at - n * interval '1 second'" if name == "closed_at" else name
                for name in names
            ]
            query = COPIES.format(columns=", ".join(names), values=", ".join(values))
            connection.execute(query.encode(), {"owner": owner, "count": count})

    def open_bank_account(self, owner: str, number: str) -> None:
        """Open an account with 10,000 USD at the bank (tests/fakes/bank)."""
        self._run(OPEN_ACCOUNT, owner=owner, number=number)

    def buy_at_broker(self, owner: str) -> None:
        """Open a position on a paper account, as a person does in the broker's own program."""
        self._run(BUY_AT_BROKER, owner=owner)

    def add_price_source(self, owner: str, name: str, quotes: Quotes) -> None:
        """Give a tenant a source of prices that stand until they are moved, and wait for them."""
        self._run(ADD_SOURCE, owner=owner, name=name, settings=json.dumps({"quotes": quotes}))
        self._wait_for_prices(quotes)

    def move_prices(self, name: str, quotes: Quotes) -> None:
        """Let a tenant's source have these prices from now on; return when the broker has them."""
        self._run(MOVE_SOURCE, name=name, settings=json.dumps({"quotes": quotes}))
        self._wait_for_prices(quotes)

    def _wait_for_prices(self, quotes: Quotes) -> None:
        end = time.monotonic() + PRICES_SECONDS
        for pair, (bid, _) in quotes.items():
            symbol = pair.replace("/", "")
            query = "SELECT bid FROM paper_quote WHERE symbol = %s"
            with psycopg.connect(self._url, autocommit=True) as connection:
                while connection.execute(query, [symbol]).fetchall() != [(Decimal(bid),)]:
                    assert time.monotonic() < end, f"the broker has no price {bid} of {pair}"
                    time.sleep(0.2)

    def find_telegram_channel(self, slug: str) -> None:
        """Let a feed's bot have seen a message in a channel, as after an answer of Telegram."""
        self._run(CHANNEL_FOUND, slug=slug)

    def end_invitation(self, note: str) -> None:
        """Let an invitation's time run out."""
        ended = "UPDATE users_invitation SET expires_at = now() - interval '1 day'"
        self._run(f"{ended} WHERE note = %(note)s", note=note)

    def age_second_factor(self, session_key: str, seconds: int) -> None:
        """Let this time pass since a session's second factor was entered."""
        read = "SELECT session_data FROM users_loginsession WHERE session_key = %s"
        with psycopg.connect(self._url, autocommit=True) as connection:
            [(stored,)] = connection.execute(read, [session_key]).fetchall()
            coded: dict[str, Any] = {
                "key": SECRET_KEY, "salt": SESSIONS_SALT, "serializer": JSONSerializer
            }  # fmt: skip
            data = signing.loads(stored, **coded)
            data["second_factor"]["at"] -= seconds
            connection.execute(
                "UPDATE users_loginsession SET session_data = %s WHERE session_key = %s",
                [signing.dumps(data, compress=True, **coded), session_key],
            )

    def _run(self, query: str, **values: str) -> None:
        with psycopg.connect(self._url, autocommit=True) as connection:
            changed = connection.execute(query.encode(), values).rowcount
        assert changed == 1, (query, changed)

    def stop(self) -> None:
        """End all its sessions and refuse new ones, as while it restarts.

        Its process goes on: the demo ends with the server that it has started itself.
        """
        self._allow_connections("false")
        with self._maintenance() as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s",
                [self._name],
            )

    def start(self) -> None:
        """Accept sessions again."""
        self._allow_connections("true")

    def _allow_connections(self, word: str) -> None:
        with self._maintenance() as connection:
            connection.execute(f"ALTER DATABASE {self._name} ALLOW_CONNECTIONS {word}".encode())

    def _maintenance(self) -> psycopg.Connection[Any]:
        return psycopg.connect(self._url, dbname="postgres", autocommit=True)
