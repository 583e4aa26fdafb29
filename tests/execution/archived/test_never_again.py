"""An archived order is never sent again, and what its broker may still report of it is stated."""

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal as D
from pathlib import Path
from typing import Any

import pytest
from django.db import transaction
from django.db.utils import DatabaseError, IntegrityError, ProgrammingError
from django.utils import timezone

from brokers.broker_books import AcceptedOrder, BrokerBooks
from brokers.types import OrderReport, ReportKind
from common.archive import parquet_files
from common.db.sql import rows, run
from common.errors import ConflictError
from common.models import ArchiveFile
from execution import services
from execution.audit.counters import audit
from execution.base.dropped_messages import record_unknown_ids
from execution.fan_out import fan_out, withdraw
from execution.models import (
    ArchivedOrder,
    DriftItem,
    DroppedMessageCount,
    Fill,
    Order,
    Status,
)
from execution.recovery.stale_orders import resolve_stuck
from execution.recovery.sweeps import query_unknown_orders
from execution.runtime.trading_runtime import TradingRuntime
from execution.submission.conditions import LOAD, verdict_of
from positions.models import ExecutionPosition
from signals.models import Signal
from signals.services import publish
from tests.archive.rows import archive, archived, line_ids, table
from tests.execution import factories
from tests.execution.archived.conftest import Past
from tests.execution.fake_broker import FakeBroker

pytestmark = pytest.mark.django_db
REMOVE = "SELECT execution_remove_archived_orders(%s, %s::bigint[]) AS removed"


@pytest.fixture
def gone(past: Past, folder: Path) -> Past:
    assert archive("orders", folder) == 3
    return past


# ---- never again


def test_signal_is_not_published_twice(gone: Past) -> None:
    assert not publish(gone.signal.pk, by=None)
    assert line_ids(table("execution_order")) == gone.traded


@pytest.mark.parametrize("keeps_filled", [True, False])
def test_second_fan_out_writes_no_order(gone: Past, keeps_filled: bool) -> None:
    """As `one_entry` refuses it while the order is in the table."""
    if not keeps_filled:
        factories.force("DELETE FROM execution_fill")
        factories.force("DELETE FROM execution_order")
    with pytest.raises(IntegrityError, match=r"in the archive|one_entry"), transaction.atomic():
        fan_out(gone.signal)
    assert Order.objects.count() == (2 if keeps_filled else 0)
    assert factories.claim_all() == []


def test_second_entry_is_refused_by_account_and_by_route(gone: Past) -> None:
    entry = gone.rejected
    for fields in (
        {"connection": entry.connection},
        {"connection": gone.filled.connection, "routed_from": entry.connection,
         "route_state": "HERE", "leg": "entry-9"},
    ):  # fmt: skip
        with pytest.raises(IntegrityError, match=f"order {entry.pk} was"), transaction.atomic():
            Order.objects.create(**{
                "signal": gone.signal, "leg": "entry", "pair": "EUR/USD", "side": "BUY",
                "order_type": "MARKET", "time_in_force": "GTC", **fields,
            })  # fmt: skip


def test_nothing_is_made_due_by_sweeps_or_messages(
    gone: Past, broker: FakeBroker, runtime: TradingRuntime
) -> None:
    calls = len(broker.calls)
    assert factories.pending() == []
    assert factories.claim_all() == []
    assert query_unknown_orders(runtime.dispatcher) == 0
    assert services.process_due_orders(500) == 0
    resolve_stuck()
    assert services.execute(gone.without_fill) == gone.without_fill  # none of them is due
    assert withdraw(gone.signal) == []
    assert len(broker.calls) == calls
    record_unknown_ids(gone.without_fill)
    assert DroppedMessageCount.objects.get().name == DroppedMessageCount.Name.ENDED
    with pytest.raises(ConflictError):
        services.retry_order(gone.rejected.pk)


def test_close_of_the_signal_finds_nothing_to_do(gone: Past) -> None:
    factories.close_signal(gone.signal)
    assert line_ids(table("execution_order")) == gone.traded


# ---- what the broker may still report


def reported(order: Order, kind: ReportKind, **fields: Any) -> Sequence[OrderReport]:
    return factories.apply(factories.report(order, kind, **fields))


def test_late_fill_is_stated_and_opens_nothing(gone: Past) -> None:
    order, before = gone.rejected, ExecutionPosition.objects.count()
    for _ in range(2):  # brokers repeat it
        factories.apply(factories.fill_report(order, 100, "late"))
    item = DriftItem.objects.get()
    assert (item.kind, item.state, item.order_id) == ("ARCHIVED_ORDER_REPORTED", "OPEN", order.pk)
    assert item.evidence["archived_order"] == f"O-{order.pk} of S-{gone.signal.pk}, in the archive"
    assert [fill["broker_fill_id"] for fill in item.evidence["fills"]] == ["late"]
    assert len(factories.events("drift.found")) == 1
    assert factories.log_codes(order.pk)[-1] == ("ARCHIVED_ORDER_REPORTED", "REJECTED")
    assert factories.log_texts(order.pk, "ARCHIVED_ORDER_REPORTED") == ["FILLED late"]
    assert (line_ids(table("execution_order")), Fill.objects.count()) == (gone.traded, 2)
    assert ExecutionPosition.objects.count() == before
    assert ArchivedOrder.objects.get(pk=order.pk).status == "REJECTED"


def test_fill_of_a_later_attempt_is_stated(gone: Past) -> None:
    cid = (gone.rejected.client_order_id or "")[:-1] + "3"
    reported(gone.rejected, ReportKind.ACCEPTED, client_order_id=cid)
    assert DriftItem.objects.get().order_id == gone.rejected.pk


@pytest.mark.parametrize("kind", ["REJECTED", "CANCELLED", "EXPIRED"])
def test_repeated_end_is_counted_and_nothing_else(gone: Past, kind: str) -> None:
    reported(gone.rejected, ReportKind[kind])
    assert not DriftItem.objects.exists()
    assert factories.dropped_counts() == {
        "report.archived_order": (
            1, f"O-{gone.rejected.pk} of S-{gone.signal.pk}, in the archive: {kind}",
        )
    }  # fmt: skip


def test_report_of_another_account_is_not_about_it(gone: Past) -> None:
    report = factories.report(gone.rejected, ReportKind.ACCEPTED)
    factories.apply(replace(report, connection_id=str(gone.filled.connection_id)))
    assert DriftItem.objects.get().kind == "UNKNOWN_ORDER"


# ---- the audit


def test_audit_is_the_same_before_and_after(past: Past, folder: Path) -> None:
    before, of_signal = audit(), audit(past.signal.pk)
    assert before.candidates == 4
    assert before.states["skipped"] == before.states["denied"] == before.states["rejected"] == 1
    assert not any(before.counters.values())
    assert archive("orders", folder) == 3
    assert audit() == before
    assert audit(past.signal.pk) == of_signal


def test_audit_counts_a_candidate_whose_order_is_nowhere(gone: Past) -> None:
    factories.force("DELETE FROM execution_archivedorder WHERE id = %s", (gone.skipped.pk,))
    assert audit().examples["MISSING"] == [
        f"signal {gone.signal.pk}, connection {gone.skipped.connection_id}"
    ]
    run("UPDATE connections_subscriptioninterval SET started_at = clock_timestamp()")
    assert set(audit().examples["EXTRA"]) == {
        f"order {order.pk}" for order in (gone.filled, gone.denied, gone.rejected)
    }


def test_audit_judges_what_the_broker_has_of_an_archived_order(
    gone: Past, broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    cid = gone.rejected.client_order_id
    assert cid is not None

    def in_book(times: int, executed: D) -> None:
        accepted = AcceptedOrder(
            str(gone.rejected.connection_id), cid, times, timezone.now(), executed
        )

        async def books(_: str) -> BrokerBooks:
            return BrokerBooks([accepted], [])

        monkeypatch.setattr(broker, "journal", books)

    in_book(2, D(0))
    assert {n: c for n, c in audit().counters.items() if c} == {"DUP": 1}
    in_book(1, D(0))
    assert not any(audit().counters.values())
    in_book(1, D(50))
    assert audit().examples["ORPHAN"] == [f"{cid} on connection {gone.rejected.connection_id}"]
    factories.apply(factories.fill_report(gone.rejected, 50, "late"))
    DriftItem.objects.update(decision="IGNORE", state="IGNORED")
    assert not any(audit().counters.values())


# ---- conditions of other signals


def test_condition_on_an_archived_entry_is_judged_as_before(past: Past, folder: Path) -> None:
    waiting = Signal.objects.create(
        feed=past.signal.feed, currency_pair="EUR/USD", direction="BUY",
        after_signal=past.signal, after_state="NOT_FILLED",
    )  # fmt: skip

    def verdicts() -> dict[str, str]:
        found = {}
        for name in ("rejected", "skipped", "filled"):
            order = Order.objects.create(
                signal=waiting, connection=getattr(past, name).connection, leg="entry",
                pair="EUR/USD", side="BUY", order_type="MARKET", time_in_force="GTC",
                awaits_condition=True,
            )  # fmt: skip
            (row,) = rows(LOAD, ([order.pk],))
            found[name] = verdict_of(row, timezone.now()).value
            order.delete()
        return found

    before = verdicts()
    assert before == {"rejected": "HOLDS", "skipped": "NEVER", "filled": "NEVER"}
    archive("orders", folder)
    assert verdicts() == before


# ---- the function that removes


def listed(past: Past, ids: Sequence[int]) -> int:
    return ArchiveFile.objects.create(
        kind="orders", path=f"orders/{ids[0]}", sha256="x", size=1, host="h", rows=len(ids),
        first_id=min(ids), last_id=max(ids), first_at=timezone.now(), last_at=timezone.now(),
    ).pk  # fmt: skip


@pytest.mark.parametrize(
    ("change", "refusal"),
    [
        ("status = 'FILLED', filled_quantity = quantity", "has traded"),
        ("done_at = clock_timestamp() - interval '399 days'", "2 of 3 orders"),
        ("done_at = NULL, status = 'PENDING'", "2 of 3 orders"),
    ],
)
def test_function_removes_no_order_that_traded_or_is_young(
    past: Past, change: str, refusal: str
) -> None:
    ids = past.without_fill
    file = listed(past, ids)
    factories.force(f"UPDATE execution_order SET {change} WHERE id = %s", (past.rejected.pk,))
    run("SET LOCAL ROLE fillcast_trade")
    with pytest.raises(DatabaseError, match=refusal), transaction.atomic():
        rows(REMOVE, (file, ids))
    with pytest.raises(DatabaseError, match="not the orders of"), transaction.atomic():
        rows(REMOVE, (file, ids[:2]))
    assert set(ids) <= set(line_ids(table("execution_order")))


@pytest.mark.parametrize("role", ["fillcast_trade", "fillcast_web"])
@pytest.mark.parametrize(
    "statement",
    ["UPDATE {} SET status = 'DENIED'", "DELETE FROM {}", "TRUNCATE {}"],
)
def test_what_stays_of_archived_orders_is_append_only(
    gone: Past, role: str, statement: str
) -> None:
    run(f"SET LOCAL ROLE {role}")
    with pytest.raises(ProgrammingError, match="permission denied"), transaction.atomic():
        run(statement.format("execution_archivedorder"))


def test_web_role_may_not_remove(past: Past) -> None:
    file = listed(past, past.without_fill)
    run("SET LOCAL ROLE fillcast_web")
    with pytest.raises(ProgrammingError, match="permission denied"), transaction.atomic():
        rows(REMOVE, (file, past.without_fill))


# ---- while a file is written


@pytest.mark.usefixtures("inline_commits")
def test_order_that_is_retried_while_its_file_is_written_stays(
    past: Past, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    factories.force("UPDATE execution_order SET status = 'FAILED' WHERE status = 'REJECTED'")
    write = parquet_files.write

    def retried_meanwhile(*given: Any) -> parquet_files.WrittenFile:
        services.retry_order(past.rejected.pk)
        return write(*given)

    with monkeypatch.context() as patch:
        patch.setattr(parquet_files, "write", retried_meanwhile)
        assert archive("orders", folder) == 0
    assert Order.objects.get(pk=past.rejected.pk).status == Status.PENDING
    assert archive("orders", folder) == 2
    assert past.rejected.pk not in line_ids(archived("orders", folder))
