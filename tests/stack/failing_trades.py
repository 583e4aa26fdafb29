"""Brokers, orders, positions and books in disorder."""

import asyncio
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from django.utils.timezone import now as machine_clock
from psycopg.types.json import Jsonb

from brokers.base import NotSent
from brokers.rate_limits import Rate, rate_limiter_for
from common.process import stored_figures
from common.process.stored_figures import STORE_SECONDS
from common.reason_codes import Code
from connections.kill_switch import release_kill_switch, set_kill_switch
from connections.models import DataConnection, Epoch, HaltMode, KillSwitch, SourceHealth
from execution.disaster_recovery.epochs import open_epoch, release_epoch
from prices.models import FallbackUse, PushRefusal
from tests.stack.injected_failures import raises
from tests.stack.watched_stack import ACCOUNTS, WatchedStack
from tests.until import until

OF_OPEN = "UPDATE positions_executionposition SET {} WHERE quantity > 0"
IN_ERROR = "SELECT 1 FROM connections_connectionhealth WHERE status = 'ERROR'"
FAILED_CALLS = """
SELECT 1 FROM common_callfigure WHERE kind = 'broker' AND outcome IN ('failed', 'unanswered')
"""
STATUS_SECONDS = 5  # the status of a source is written so often
TEN_MINUTES_AGO = """
UPDATE execution_droppedmessagecount SET sampled_at = clock_timestamp() - interval '600 s'
"""


# ---- brokers ------------------------------------------------------------------------------
@raises("BrokerHostDown")
def broker_is_killed(stack: WatchedStack) -> Iterator[None]:
    stack.environment.venue.kill()
    until(lambda: stack.rows(FAILED_CALLS))  # they raise no alarm besides
    yield
    stack.environment.venue.start()
    stack.environment.settle()
    stack.wait_until_well()


@raises("BrokerHostDown")
def broker_hangs(stack: WatchedStack) -> Iterator[None]:
    stack.environment.venue.signal(signal.SIGSTOP)
    until(lambda: stack.rows(IN_ERROR))  # they raise no alarm besides
    yield
    stack.environment.venue.signal(signal.SIGCONT)
    stack.wait_until_well()


@raises("BrokerCallsFail", seen_after=STORE_SECONDS)
def broker_does_not_answer_orders(stack: WatchedStack) -> Iterator[None]:
    stack.environment.broker(silent_after=True)
    stack.operator.do("quote")
    stack.operator.do("publish", feed=ACCOUNTS)
    yield
    stack.environment.broker(silent_after=False)
    stack.close_all()


@raises("OrdersSentSlowly", seen_after=STORE_SECONDS)
def broker_answers_slowly(stack: WatchedStack) -> Iterator[None]:
    stack.environment.broker(reply_delay_ms=3_000)
    stack.operator.do("quote")
    stack.operator.do("publish", feed=ACCOUNTS)
    yield
    stack.environment.broker(reply_delay_ms=0)
    stack.close_all()


@raises("RateLimitsUsedUp", seen_after=STORE_SECONDS)
def rate_limit_is_used_up(stack: WatchedStack) -> Iterator[None]:
    asyncio.run(_use_up_rate_limit())
    stored_figures.store()
    yield


@raises("ConnectionsInError")
def logins_are_refused(stack: WatchedStack) -> Iterator[None]:
    stack.refuse_logins(ACCOUNTS // 5)
    yield
    stack.refuse_logins(0)
    stack.rows(
        "UPDATE connections_connectionhealth SET status = 'UNTESTED', reconciled_at = NULL,"
        " test_requested_at = clock_timestamp() WHERE status = 'ERROR'"
    )
    stack.wait_until_well()


@raises("OrderUnknown", seen_after=300, late="two look-ups a minute apart settle most of them")
def order_stays_unknown(stack: WatchedStack) -> Iterator[Callable[[], object]]:
    first = "(SELECT min(id) FROM paper_account)"  # of many, their host would be down
    stack.environment.books.rows(f"UPDATE paper_account SET silent_after = true WHERE id = {first}")
    stack.operator.do("quote")
    stack.operator.do("publish", feed=ACCOUNTS)
    until(lambda: stack.rows("SELECT 1 FROM execution_order WHERE status = 'UNKNOWN'"))
    stack.environment.broker(silent_after=False)
    yield lambda: stack.rows(
        "UPDATE execution_order SET lookup_after = clock_timestamp() + interval '1 h',"
        " submitted_at = clock_timestamp() - interval '301 s' WHERE status = 'UNKNOWN'"
    )
    stack.rows(
        "UPDATE execution_order SET lookup_after = clock_timestamp() WHERE status = 'UNKNOWN'"
    )
    stack.close_all()


# ---- positions and orders -----------------------------------------------------------------
@raises("PositionsUnprotected", seen_after=30)
def position_has_no_stop(stack: WatchedStack) -> Iterator[Callable[[], object]]:
    with stack.open_position(), stack.session() as session:

        def lose_stop() -> None:
            session.rollback()
            stack.rows(
                "UPDATE positions_executionposition SET sl_guardian = '',"
                " unprotected_since = clock_timestamp() - interval '31 s' WHERE quantity > 0"
            )
            session.execute("SELECT 1 FROM positions_executionposition FOR UPDATE")

        yield lose_stop
        session.rollback()


@raises(
    "LevelScanLate", seen_after=120, late="they are scanned once a minute, by workers after 75 s"
)
def levels_are_not_scanned(stack: WatchedStack) -> Iterator[None]:
    stack.rows(
        "UPDATE execution_levelscanheartbeat SET scanned_at = clock_timestamp() - interval '121 s'"
    )
    with stack.session() as session:
        session.execute("LOCK TABLE execution_levelscanheartbeat IN EXCLUSIVE MODE")
        yield


@raises("OrdersOverdue", seen_after=30)
def order_is_not_sent(stack: WatchedStack) -> Iterator[Callable[[], object]]:
    with stack.session() as session:
        session.execute("SELECT 1 FROM connections_connectionlock FOR UPDATE")
        stack.operator.do("quote")
        stack.operator.do("publish", feed=ACCOUNTS)
        yield lambda: stack.rows(
            "UPDATE execution_order SET due_at = clock_timestamp() - interval '31 s'"
            " WHERE status = 'PENDING'"
        )
    stack.close_all()


@raises("TradingHalted")
def operator_halts_everything(stack: WatchedStack) -> Iterator[None]:
    with halted(HaltMode.HALTED):
        yield


@raises("TradingHalted")
def operator_halts_all_entries(stack: WatchedStack) -> Iterator[None]:
    with halted(HaltMode.REDUCING):
        yield


@raises("AlertsWait", seen_after=30)
def alert_is_not_published(stack: WatchedStack) -> Iterator[Callable[[], object]]:
    with stack.session() as session:
        session.execute("SELECT 1 FROM signals_feed FOR NO KEY UPDATE")
        stack.rows(
            "INSERT INTO alerts_incomingalert (feed_id, source, source_key, body, state,"
            " received_at, expires_at) SELECT id, 'WEBHOOK', 'late', '{}', 'WAITING',"
            " clock_timestamp(), clock_timestamp() + interval '1 h' FROM signals_feed LIMIT 1"
        )
        yield lambda: stack.rows(
            "UPDATE alerts_incomingalert SET received_at = clock_timestamp() - interval '31 s'"
            " WHERE state = 'WAITING'"
        )


@raises("RecoveryEpochOpen")
def database_was_restored(stack: WatchedStack) -> Iterator[None]:
    open_epoch(Epoch.Cause.COMMAND, note="a drill")
    yield
    release_epoch(by=None, note="the drill is over", force=True)
    stack.wait_until_well()


# ---- prices -------------------------------------------------------------------------------
@contextmanager
def _source_of_a_drill(**status: list[str]) -> Iterator[DataConnection]:
    """A source that is on, and whose status no process writes."""
    source = DataConnection.objects.create(name="of a drill", settings={"quotes": {}})
    SourceHealth.objects.create(source=source, **status)
    yield source
    source.delete()


@raises("PricesSuspect", seen_after=STATUS_SECONDS)
def price_stays_suspect(stack: WatchedStack) -> Iterator[None]:
    with _source_of_a_drill(suspects=["EUR/USD"]):
        yield


@raises("PricesOnFallback")
def price_source_is_silent_and_has_a_fallback(stack: WatchedStack) -> Iterator[None]:
    with _source_of_a_drill(on_fallback=["EUR/USD"]):
        yield


@raises("FallbackStopped")
def price_source_and_its_fallback_are_silent(stack: WatchedStack) -> Iterator[None]:
    with _source_of_a_drill(pairs=["EUR/USD"]) as source:
        FallbackUse.objects.create(
            data_connection=source, symbol="EUR/USD", fallback=source, bid_offset=0, ask_offset=0,
            own_at=machine_clock(),
        )  # fmt: skip
        yield


@raises(
    "PushedQuotesRefused", seen_after=0, late="a sender may be wrong for five minutes", lasts=720
)
def program_pushes_invalid_quotes(stack: WatchedStack) -> Iterator[Callable[[], object]]:
    with _source_of_a_drill(pairs=["EUR/USD"]) as source:
        refused = PushRefusal.objects.create(
            data_connection=source, code=Code.QUOTE_CROSSED, quotes=1
        )
        yield lambda: PushRefusal.objects.filter(pk=refused.pk).update(last_at=machine_clock())


# ---- books --------------------------------------------------------------------------------
@raises("AuditFailed")
def order_row_is_lost(stack: WatchedStack) -> Iterator[None]:
    stack.trade()
    with stack.session() as session:
        session.execute("SET session_replication_role = replica")
        kept = session.execute(
            "SELECT to_jsonb(o) FROM execution_order o WHERE leg = 'entry' ORDER BY id DESC LIMIT 1"
        ).fetchone()
        assert kept is not None
        session.execute("DELETE FROM execution_order WHERE id = %s", [kept[0]["id"]])
        session.commit()
        stack.audit()
        yield
        session.execute(
            "INSERT INTO execution_order SELECT * FROM jsonb_populate_record("
            "NULL::execution_order, %s)",
            [Jsonb(kept[0])],
        )
        session.commit()
    stack.audit()


@raises("AuditFailed")
def position_differs_from_its_fills(stack: WatchedStack) -> Iterator[None]:
    with stack.open_position():
        stack.rows(
            "UPDATE positions_executionposition SET quantity = quantity - 1 WHERE quantity > 0"
        )
        stack.audit()
        yield
        stack.rows(
            "UPDATE positions_executionposition SET quantity = quantity + 1 WHERE quantity > 0"
        )
    stack.audit()


@raises("AuditLate", seen_after=7200, late="it runs once an hour")
def audit_does_not_run(stack: WatchedStack) -> Iterator[None]:
    stack.rows("UPDATE execution_auditrun SET at = at - interval '7201 s'")
    yield
    stack.audit()


@raises("AuditLate", seen_after=7200, late="it runs once an hour")
def audit_has_never_run(stack: WatchedStack) -> Iterator[None]:
    stack.rows("DELETE FROM execution_auditrun")
    # Before the first audit the newest migration counts, which this stack has just applied.
    stack.rows("UPDATE django_migrations SET applied = applied - interval '7201 s'")
    yield
    stack.rows("UPDATE django_migrations SET applied = applied + interval '7201 s'")
    stack.audit()


@raises(
    "AccountsNotJudged", seen_after=3600, late="an account may be away for two hours", lasts=7_500
)
def account_cannot_be_judged(stack: WatchedStack) -> Iterator[None]:
    stack.rows(
        "INSERT INTO execution_auditrun (ok, counters, unread, not_judged)"
        """ VALUES (false, '{"DUP": 0}', '[]', '[{"account": "1"}]')"""
    )
    yield
    stack.audit()


@raises("DifferencesWait", late="a person has half an hour to decide", lasts=2_100)
def difference_is_not_decided(stack: WatchedStack) -> Iterator[None]:
    stack.rows(
        "INSERT INTO execution_driftitem (kind, connection_id, key, evidence)"
        " SELECT 'UNKNOWN_ORDER', id, 'x', '{}' FROM connections_executionconnection LIMIT 1"
    )
    yield
    stack.rows("UPDATE execution_driftitem SET state = 'IGNORED'")


@raises("MessagesDropped")
def message_cannot_be_read(stack: WatchedStack) -> Iterator[None]:
    stack.send("ExecuteSignal", "no list of ids", queue="exits")
    yield
    stack.rows(TEN_MINUTES_AGO)


@raises("MessagesDropped")
def message_lists_orders_that_do_not_exist(stack: WatchedStack) -> Iterator[None]:
    stack.send("ExecuteSignal", [2_000_000_000], queue="exits")
    yield
    stack.rows(TEN_MINUTES_AGO)


@raises("MessagesDropped")
def message_names_a_task_that_is_gone(stack: WatchedStack) -> Iterator[None]:
    stack.send("execution.of_yesterday", queue="maintenance")
    yield
    stack.rows(TEN_MINUTES_AGO)


@contextmanager
def halted(mode: str, *, scope: str = KillSwitch.Scope.ALL, **names: Any) -> Iterator[None]:
    switch = set_kill_switch(scope=scope, mode=mode, reason="a drill", by=None, **names)
    yield
    release_kill_switch(switch.pk, by=None)


async def _use_up_rate_limit() -> None:
    limiter = rate_limiter_for("ibkr 10.0.0.5:4002", Rate(1, 60))
    for _ in range(20):
        with suppress(NotSent):
            await limiter.acquire(deadline=time.monotonic() + 0.01)
