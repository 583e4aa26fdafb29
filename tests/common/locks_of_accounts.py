"""Acts about accounts, prices, halts, orders and statistics, each with its advisory locks."""

from datetime import date
from decimal import Decimal as D
from types import SimpleNamespace
from typing import Any, cast

import psycopg
from django.db import transaction

from analytics.quality import signals as signal_quality
from analytics.records.computation import compute_feed
from analytics.results.costs import compute_costs
from analytics.services import compute_day
from brokers.paper.queries import EXCHANGE_LOCKS, lock_symbols
from common.db.sql import rows
from connections import services
from connections.accounts.ownership import claim_account
from connections.accounts.permissions import check_references
from connections.market_data.sources import get_or_create_broker_source, share_with_all
from connections.models import DataConnection, Epoch, ExecutionConnection
from execution.disaster_recovery.epochs import current_epoch
from execution.scoped.actions import ActionRequest, ActionScope, carry_out
from execution.submission.rows import SignalRow
from execution.submission.signal_limits import lock_signal_totals
from tests.common.advisory_locks import (
    Lock,
    by_numbers,
    by_short_text,
    by_text,
)
from tests.common.locks_of_signals import Case
from tests.connections import make
from tests.connections.fake_brokers import account, instrument
from tests.users.rights_table import Rows


def offer(source: DataConnection, mode: str) -> Lock:
    return by_text(f"offer of price source {source.pk}", mode)


# ---- accounts, prices, halts -------------------------------------------------------------------
def claim_an_account(of: Rows) -> Case:
    row = make.connection(type="paper", account="7", settings={})
    claim, _ = _claims(row.pk, account())
    return lambda: claim_account(row, account()), [by_text(f"claim of {claim}")]


def claim_an_account_by_its_key(of: Rows) -> Case:
    row = make.connection(
        type="crypto", exchange_name="binance", account="spot", settings={}, sealed_credentials=None
    )
    row.set_credentials({"api_key": "k", "api_secret": "s"})
    row.save()
    stored, read = ExecutionConnection.objects.get(pk=row.pk), account(account="spot")
    claim, key = _claims(row.pk, read)
    locks = [by_text(f"claim of {claim}"), by_text(f"key {key}")] if claim else []
    return lambda: claim_account(stored, read), locks or [by_text(f"key {key}")]


def _claims(pk: Any, read: Any) -> tuple[str, str]:
    """Return what an account claims, and with which key; nothing stays locked."""
    with transaction.atomic():
        claim_account(ExecutionConnection.objects.get(pk=pk), read)
        stored = ExecutionConnection.objects.get(pk=pk)
        transaction.set_rollback(True)
    return stored.claim, stored.credentials_claim


def store_a_brokers_symbols(of: Rows) -> Case:
    return (
        lambda: services.store_instruments("b", [instrument("EURUSD", "EUR/USD")]),
        [by_text("instruments of b")],
    )


def _offered() -> tuple[DataConnection, Any]:
    owner = make.user(is_staff=True)
    row = make.connection(admin=owner, type="mt5")
    source = get_or_create_broker_source(row)
    return source, owner


def share_prices(of: Rows) -> Case:
    source, owner = _offered()
    return lambda: share_with_all(source, by=owner), [offer(source, "exclusive")]


def withdraw_prices(of: Rows) -> Case:
    source, owner = _offered()
    source.user_id = None
    source.save()
    return lambda: share_with_all(source, by=owner, shared=False), [offer(source, "exclusive")]


def switch_prices_on(of: Rows) -> Case:
    source, _ = _offered()
    DataConnection.objects.filter(pk=source.pk).update(is_active=False)
    row = source.broker_connection
    assert row is not None
    return lambda: get_or_create_broker_source(row), [offer(source, "exclusive")]


def choose_shared_prices(of: Rows) -> Case:
    source = DataConnection.objects.create(name="recorded")
    return (
        lambda: check_references(of.alice.pk, "paper", None, source),
        [offer(source, "shared")],
    )


def halt_an_account(of: Rows) -> Case:
    return (
        lambda: services.set_kill_switch(
            scope="CONNECTION", connection_id=of.account.pk, mode="HALTED", reason="", by=of.alice
        ),
        [by_text(f"halts of user {of.alice.pk}")],
    )


# ---- orders ------------------------------------------------------------------------------------
def count_a_limited_signal(of: Rows) -> Case:
    row = cast("SignalRow", SimpleNamespace(id=of.signal.pk, max_signal_notional=D(5)))
    (key,) = rows("SELECT hashint8(%s) AS n", (of.signal.pk,))
    lock = by_numbers("the notional of the signal", 0x46434120, key.n)
    return lambda: lock_signal_totals([row]), [lock]


def close_everything_once(of: Rows) -> Case:
    request = ActionRequest(ActionScope(), closes_positions=True, request_id="r-1")
    return lambda: carry_out(request, by=of.alice), [by_text("r-1", seed=of.alice.pk)]


def found_the_first_epoch(of: Rows) -> Case:
    Epoch.objects.all().delete()
    return current_epoch, [by_short_text("fillcast.epoch")]


def orders_of_a_symbol(of: Rows) -> Case:
    return lambda: _lock_symbols(exclusive=False), [_symbol("shared")]


def prices_of_a_symbol(of: Rows) -> Case:
    return lambda: _lock_symbols(exclusive=True), [_symbol("exclusive")]


def _lock_symbols(*, exclusive: bool) -> None:
    session = SimpleNamespace(execute=lambda sql, values: rows(sql, values))
    lock_symbols(cast("psycopg.Connection[Any]", session), ["EURUSD"], exclusive=exclusive)


def _symbol(mode: str) -> Lock:
    (key,) = rows("SELECT hashtext('EURUSD') AS n")
    return by_numbers("EURUSD", EXCHANGE_LOCKS, key.n, mode)


# ---- jobs --------------------------------------------------------------------------------------
def costs(of: Rows) -> Case:
    return compute_costs, [by_short_text("analytics.compute_costs")]


def a_day(of: Rows) -> Case:
    day = date(2026, 3, 11)
    return lambda: compute_day(day), [by_short_text("analytics.compute_day", day.toordinal())]


def a_record(of: Rows) -> Case:
    lock = by_short_text("analytics.feed_record", of.public.pk)
    return lambda: compute_feed(of.public), [lock]


def medians(of: Rows) -> Case:
    return (
        lambda: signal_quality._compute([0]),
        [by_short_text("analytics.compute_signal_quality")],
    )
