"""What runs for all accounts reads what is open or due, beside thousands of silent accounts."""

import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from common.clocks import market_now
from common.db.sql import array, kept_plans, periodic_rows, rows, run
from connections.loss_limits import figures
from connections.market_data.instrument_books import COMPLETIONS
from connections.models import ExecutionConnection
from execution.models import Order
from signals.models import Feed
from tests.connections import make
from tests.execution import factories
from tests.execution.fake_broker import KIND
from tests.execution.plans import accounts
from tests.execution.plans.cases import Case, check_plans
from tests.execution.plans.explained import executed
from tests.execution.plans.rules import BIG, Rule, check
from tests.execution.query_plans import (
    copy_account,
    copy_health,
    prepared,
    undone_at_the_end,
)
from tests.loss_limits import limit_of

pytestmark = [pytest.mark.django_db]  # it inserts many rows

OFF = 3_000
LISTS, NAMES = 50, 100
SYNC_STATES = """
INSERT INTO execution_accountsyncstate (connection_id)
SELECT id FROM connections_executionconnection ON CONFLICT DO NOTHING
"""
OF_ACCOUNTS = (
    "connections_executionconnection", "connections_accountsnapshot", "execution_accountsyncstate",
)  # fmt: skip


def at_most(number: int, text: str) -> Rule:
    return Rule(
        text, tables=OF_ACCOUNTS, by_keys=False, is_bounded=False, least=1, rows=range(number + 1)
    )


def test_loss_limits_read_no_account_if_there_is_none() -> None:
    """Each second, in each process with exits, beside thousands of accounts."""
    factories.register()
    alice = factories.account()
    copy_account(alice, OFF, preset_id=make.preset().pk)
    run(
        """INSERT INTO connections_accountsnapshot (connection_id, currency, balance, equity,
          margin_used, free_margin, leverage, position_mode, read_at)
        SELECT id, 'USD', 1, 1, 0, 1, 1, 'HEDGING', now() FROM connections_executionconnection
        WHERE id <> %s
        ON CONFLICT DO NOTHING""",
        (alice.pk,),
    )
    asked = {"closed": [], "closed_at": [], "limit": 200}
    rule = at_most(0, "reads no account if there is no loss limit")
    with kept_plans():
        check([("loss_limits.figures.DUE, before ANALYZE", executed(figures.DUE, asked), rule)])
    run("ANALYZE connections_executionconnection, connections_accountsnapshot,"
        " connections_losslimit, connections_subscription")  # fmt: skip
    with kept_plans():
        check([("loss_limits.figures.DUE", executed(figures.DUE, asked), rule)])
    assert alice.preset is not None
    limit_of(alice.preset)
    assert [row.connection_id for row in rows(figures.DUE, asked)] == [alice.pk]


def add_silent_accounts(of: ExecutionConnection, broker_type: str) -> None:
    """Thousands of accounts of a broker type, with nothing open."""
    copy_account(of, OFF, type=broker_type)
    run(SYNC_STATES)
    run("ANALYZE connections_executionconnection, execution_accountsyncstate")


def check_kept(case: Case, parameters: dict[str, Any], rule: Rule) -> None:
    """Run a periodic query, then judge what the plan reads which the session has kept of it."""
    before = prepared()
    periodic_rows(case.sql, parameters)
    [name] = {name for name, figures in prepared().items() if before.get(name) != figures}
    names = dict.fromkeys(re.findall(r"%\((\w+)\)s", case.sql))
    values = ", ".join(f"'{parameters[one]}'" for one in names)
    with kept_plans():
        check([(case.name, executed(f'EXECUTE "{name}" ({values})', None), rule)])


@pytest.mark.parametrize("case", [accounts.STREAM_CLAIM, accounts.POLLS], ids=["streams", "polls"])
def test_no_account_is_read_for_broker_types_without_any(live_order: Order, case: Case) -> None:
    """Each second, in each trading process of an installation of paper accounts."""
    add_silent_accounts(live_order.connection, "paper")
    types = ["none", "of_these", "zero"]
    rule = at_most(len(types), "reads no more than the next account in the index for each type")
    check_kept(case, {**case.parameters, "broker_types": array(types)}, rule)


@pytest.mark.parametrize("with_orders", ["paper", KIND])
def test_accounts_to_listen_to_are_found_from_what_is_open(
    live_order: Order, with_orders: str
) -> None:
    """Beside thousands with nothing open, and beside one order of another broker type."""
    add_silent_accounts(live_order.connection, KIND)
    ExecutionConnection.objects.filter(pk=live_order.connection_id).update(type=with_orders)
    case = accounts.STREAM_CLAIM
    check_kept(case, case.parameters, at_most(19, "reads accounts with something open only"))
    run("UPDATE execution_accountsyncstate SET stream_holder = ''")
    expected = [live_order.connection_id] if with_orders == KIND else []
    found = periodic_rows(case.sql, case.parameters)
    assert [row.connection_id for row in found] == expected


def test_listed_pairs_of_a_word_are_found_by_their_base(
    feed: Feed, alice: ExecutionConnection
) -> None:
    """Run for an alert with a symbol without a currency, among the lists of all brokers."""
    run(
        """INSERT INTO connections_instrument (book, symbol, pair, is_preferred, digits, pip,
          quantity_min, quantity_step, quantity_max, contract_size, stops_level, margin_rate,
          read_at)
        SELECT 'book ' || b, 'X' || n, 'X' || n || '/USD', true, 2, 1, 1, 1, 1, 1, 0, 0, now()
        FROM generate_series(1, %s) b, generate_series(1, %s) n""",
        (LISTS, NAMES),
    )
    ExecutionConnection.objects.filter(pk=alice.pk).update(instrument_book="book 7")
    run("ANALYZE connections_instrument, connections_executionconnection, connections_subscription")
    asked = {
        "feed_id": feed.pk, "reaches_admins": True, "only_owner": None, "word": "X9",
        "feed_owner": feed.owner_id,
    }  # fmt: skip
    rule = Rule(
        "reads the instruments of one base", alias="i", tables=("connections_instrument",),
        by_any=True, by_keys=False, required=frozenset({"instrument_base"}), rows_each=LISTS,
    )  # fmt: skip
    check([("instrument_books.COMPLETIONS", executed(COMPLETIONS, asked), rule)])
    assert [(row.pair, row.listing) for row in rows(COMPLETIONS, asked)] == [("X9/USD", 1)]


@pytest.fixture(scope="class")
def switched_off(pile: ExecutionConnection, django_db_blocker: Any) -> Iterator[None]:
    with undone_at_the_end(django_db_blocker):
        run("UPDATE connections_executionconnection SET is_active = false WHERE id = %s",
            (pile.pk,))  # fmt: skip
        copy_account(ExecutionConnection.objects.get(pk=pile.pk), OFF, is_active=False)
        then = market_now() - timedelta(days=1)
        copy_health(pile, last_connected_at=then, unreachable_at=then, last_error_at=then)
        run("ANALYZE connections_executionconnection, connections_connectionhealth")
        yield


@pytest.mark.usefixtures("switched_off")
class TestSwitchedOff:
    """Many accounts are off and silent beside the one of the live order, which is off too."""

    def test_open_exposure_is_found_by_index(self, live_order: Order) -> None:
        """For each of thousands of accounts that are off, every few seconds."""
        check_plans(accounts.OF_ALL_ACCOUNTS, live_order)

    def test_accounts_that_wait_for_a_comparison_are_found_by_index(
        self, live_order: Order
    ) -> None:
        """Every other second in three processes, and mostly there are none."""
        run("UPDATE connections_connectionhealth SET reconciled_at = now()")
        run(SYNC_STATES)
        run("ANALYZE connections_connectionhealth, execution_accountsyncstate")
        check_plans((accounts.NEW_TO_COMPARE,), live_order)

    def test_users_of_a_price_source_are_found_by_index(self, live_order: Order) -> None:
        """Run each second in each trading process, for sources that all open positions use, and
        for sources that none uses."""
        run("UPDATE positions_executionposition SET quantity = 1000, closed_at = NULL,"
            " price_source_id = %s", (live_order.connection.data_connection_id,))  # fmt: skip
        for table in BIG:
            factories.force(
                f"UPDATE {table} t SET connection_id = c.ids[t.id %% {OFF} + 1] FROM"
                " (SELECT array_agg(id) AS ids FROM connections_executionconnection) c"
                " WHERE %s", (True,))  # fmt: skip
            run(f"ANALYZE {table}")
        check_plans((accounts.USED_SOURCES, *accounts.REQUIRED_PAIRS), live_order)
