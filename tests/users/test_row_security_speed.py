"""Row-level security costs no reading of other tenants' rows."""

import re

import pytest
from django.db import connection

from tests.users import world
from tests.users.conftest import Opened

pytestmark = pytest.mark.django_db(transaction=True)

PLANNED = {
    "my accounts": "SELECT * FROM connections_executionconnection WHERE user_id = %(user)s",
    "an account": "SELECT * FROM connections_executionconnection WHERE id = %(connection)s",
    "its health": "SELECT * FROM connections_connectionhealth WHERE connection_id = %(connection)s",
    "its orders": "SELECT * FROM execution_order WHERE connection_id = %(connection)s"
    " ORDER BY id DESC LIMIT 50",
    "my orders": "SELECT o.* FROM execution_order o JOIN connections_executionconnection c"
    " ON c.id = o.connection_id WHERE c.user_id = %(user)s",
    "its positions": "SELECT * FROM positions_executionposition"
    " WHERE connection_id = %(connection)s AND quantity > 0",
    "an order's log": "SELECT * FROM execution_executionlog WHERE order_id = %(order)s",
}


def test_policies_use_indexes_among_ten_thousand_accounts(
    alice: world.Tenant, as_role: Opened
) -> None:
    _crowd(10_000)
    named = {"user": alice.user.pk, "connection": alice.connection.pk, "order": alice.order.pk}
    for name, query in PLANNED.items():
        with as_role("web", tenant=alice.user.pk) as session:
            explained = session.execute(f"EXPLAIN (ANALYZE, COSTS OFF) {query}", named).fetchall()
        plan = "\n".join(line for (line,) in explained)
        assert "Seq Scan" not in plan, f"{name}: {plan}"
        assert "Rows Removed by Filter" not in plan, f"{name}: {plan}"
        assert re.search(r"actual time=\S+ rows=1(\.00)? ", explained[0][0]), f"{name}: {plan}"


def _crowd(size: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SET session_replication_role = replica;
            INSERT INTO users_user (username, password, first_name, last_name, email, is_superuser,
              is_staff, is_active, date_joined, time_zone)
            SELECT 'crowd' || n, '', '', '', '', false, false, true, now(), 'UTC'
            FROM generate_series(1, %(size)s) n;
            INSERT INTO connections_executionconnection (id, user_id, name, type, exchange_name,
              account, is_active, is_paused, settings, instrument_book, created_at)
            SELECT gen_random_uuid(), id, username, 'paper', '', username, true, false, '{}', '',
              now() FROM users_user WHERE username LIKE 'crowd%%';
            INSERT INTO connections_connectionhealth (connection_id)
            SELECT id FROM connections_executionconnection WHERE account LIKE 'crowd%%';
            INSERT INTO execution_order (signal_id, connection_id, leg, pair, side, order_type,
              time_in_force)
            SELECT (SELECT min(id) FROM signals_signal), id, 'entry', 'EUR/USD', 'BUY', 'MARKET',
              'GTC' FROM connections_executionconnection WHERE account LIKE 'crowd%%';
            INSERT INTO execution_executionlog (order_id, connection_id, code)
            SELECT o.id, o.connection_id, 'CREATED' FROM execution_order o
            JOIN connections_executionconnection c ON c.id = o.connection_id
            WHERE c.account LIKE 'crowd%%';
            INSERT INTO positions_executionposition (connection_id, signal_id, pair, symbol, side,
              quantity, opened_quantity, entry_price, pip, conversion_rate, opened_at)
            SELECT connection_id, signal_id, pair, 'EURUSD', side, 1000, 1000, 1.1, 0.0001, 1, now()
            FROM execution_order o JOIN connections_executionconnection c ON c.id = o.connection_id
            WHERE c.account LIKE 'crowd%%';
            SET session_replication_role = origin;
            """,
            {"size": size},
        )
        for table in ("users_user", "connections_executionconnection", "execution_order",
                      "connections_connectionhealth", "execution_executionlog",
                      "positions_executionposition"):  # fmt: skip
            cursor.execute(f"ANALYZE {table}")
