"""The dashboard: exact sums, what is wrong, and a bounded number of queries."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from django.test import Client
from django.urls import reverse
from django.utils import timezone
from django_celery_beat.models import PeriodicTask

from connections.models import ExecutionConnection, HostCircuit
from console.queries import candidates, dashboard, latency, system_status
from console.queries.trading_status import trading_status
from execution.models import ArchivedOrder, AuditRun, Order, WorkerLease
from positions.models import ExecutionPosition
from signals.models import Signal
from tests.console import seed
from tests.console.conftest import statements
from tests.html import html_of
from tests.matrix import WALK_TIME, Walk
from tests.operational import set_setting

Page = Callable[..., str]


def test_every_candidate_is_in_exactly_one_state(world: dict[str, Any]) -> None:
    totals = dashboard.accounted(dashboard.last_signals())
    main = next(line for line in totals.lines if line.signal == world["signal"])
    assert main.shares == seed.SHARES
    assert (main.candidates, main.found, main.adds_up) == (100, 100, True)
    assert totals.total.found == 100 + seed.OTHERS_MANY
    assert (totals.missing, totals.extra) == (0, 0)


def test_missing_order_row_raises_an_alarm(
    world: dict[str, Any], page: Page, client: Client
) -> None:
    Order.objects.filter(signal=world["signal"], status="UNKNOWN").delete()
    totals = dashboard.accounted(dashboard.last_signals())
    assert (totals.missing, totals.extra) == (2, 0)
    client.force_login(world["operator"])
    html = page("/admin/console/live/")
    assert "98 rows for 100 candidates" in html
    assert "Missing 2, extra 0." in html


def again(order: Order, **fields: Any) -> Order:
    """Write another row of an entry's candidate."""
    order.pk, order.client_order_id, order.broker_order_id = None, None, ""
    for name, value in fields.items():
        setattr(order, name, value)
    order.save(force_insert=True)
    return order


def test_later_slices_are_no_candidates_of_their_own(world: dict[str, Any]) -> None:
    late = timezone.now() + timedelta(minutes=8)
    again(world["orders"][0], leg="entry-2", submitted_at=late)
    totals = dashboard.accounted(dashboard.last_signals())
    assert (totals.missing, totals.extra) == (0, 0)
    assert latency.recent().sent_p99 is not None
    assert all(step.maximum < 60_000 for step in latency.recent().steps)


def test_entry_that_moved_along_its_route_counts_once(world: dict[str, Any]) -> None:
    left = Order.objects.filter(signal=world["signal"], status="CANCELLED").first()
    assert left is not None
    for one, state in ((left, "MOVED"), (world["orders"][0], "HERE")):
        Order.objects.filter(pk=one.pk).update(routed_from=left.connection, route_state=state)
    Signal.objects.filter(pk=world["signal"].pk).update(candidate_count=99)
    totals = dashboard.accounted(dashboard.last_signals())
    assert (totals.missing, totals.extra) == (0, 0)
    signal = Signal.objects.get(pk=world["signal"].pk)
    assert candidates.counts(signal).adds_up


def archive(order: Order, done: datetime, **fields: Any) -> None:
    """Move an entry's row to the archive."""
    assert order.signal is not None
    ArchivedOrder.objects.create(
        id=order.pk, signal=order.signal, connection=order.connection, status=order.status,
        pair=order.pair, side=order.side, order_type=order.order_type, created_at=done,
        done_at=done, **fields,
    )  # fmt: skip
    order.delete()


def test_archived_entries_are_accounted_for(world: dict[str, Any]) -> None:
    done = timezone.now() - timedelta(days=400)
    Signal.objects.filter(pk=world["signal"].pk).update(published_at=done)
    for order in Order.objects.filter(signal=world["signal"], status="SKIPPED"):
        archive(order, done)
    totals = dashboard.accounted(dashboard.last_signals())
    assert (totals.missing, totals.extra) == (0, 0)


def test_archived_entry_that_moved_along_its_route_counts_once(world: dict[str, Any]) -> None:
    done = timezone.now() - timedelta(days=400)
    left = Order.objects.filter(signal=world["signal"], status="CANCELLED").first()
    assert left is not None
    archive(left, done, routed_from=left.connection, route_state="MOVED")
    Signal.objects.filter(pk=world["signal"].pk).update(published_at=done, candidate_count=99)
    totals = dashboard.accounted(dashboard.last_signals())
    assert (totals.missing, totals.extra) == (0, 0)
    counted = candidates.counts(Signal.objects.get(pk=world["signal"].pk))
    assert (counted.adds_up, counted.archived) == (True, 0)


def test_unreachable_broker_host_is_displayed(
    world: dict[str, Any], page: Page, client: Client
) -> None:
    client.force_login(world["operator"])
    assert "does not answer" not in page("/admin/console/live/")
    HostCircuit.objects.create(
        host="mt5:live-3", opened_at=timezone.now(), failing=40, contacted=60, message="No answer."
    )
    html = page("/admin/console/live/")
    assert "mt5:live-3 is not responding" in html
    assert "40 of 60 accounts could not be reached" in html
    assert "mt5:live-3" in page("/admin/connections/hostcircuit/")


def test_result_of_the_last_audit_is_displayed(
    world: dict[str, Any], page: Page, client: Client
) -> None:
    client.force_login(world["operator"])
    assert "No audit has run yet" in page("/admin/console/live/")
    run = AuditRun.objects.create(ok=True, counters={"DUP": 0}, judged=3)
    html = page("/admin/console/live/")
    assert "Every counter is 0. 3 accounts checked against the broker’s records." in html
    connection = str(ExecutionConnection.objects.values_list("pk", flat=True)[0])
    not_judged = {"connection": connection, "name": "Gold <b>", "reason": "NO_SESSION_WORKER",
           "detail": "No worker holds this account's session."}  # fmt: skip
    run.not_judged = [not_judged] * 7
    run.save()
    html = page("/admin/console/live/")
    assert "In order, partly checked" in html
    assert "7 accounts could not be checked" in html
    address = reverse("admin:connections_executionconnection_page", args=[connection])
    assert f'<a href="{address}">Gold &lt;b&gt;</a>' in html
    assert "And 2 more" in html
    AuditRun.objects.create(ok=False, counters={"DUP": 1, "ORPHAN": 0})
    html = page("/admin/console/live/")
    assert "Not in order" in html
    assert "an order that the broker accepted more than once" in html
    AuditRun.objects.update(at=timezone.now() - timedelta(hours=3))
    assert "No audit has finished for 3 h" in page("/admin/console/live/")


def test_figures_match_the_rows(world: dict[str, Any]) -> None:
    trading = trading_status()
    assert trading.unknown.count == 2
    assert trading.working.parts == {"SUBMITTED": 3, "PARTIALLY_FILLED": 2, "PENDING": 1}
    assert (trading.working.count, trading.working.at_broker) == (6, 5)
    assert trading.unprotected.count == 1
    ExecutionPosition.objects.filter(sl_guardian="").update(unprotected_since=timezone.now())
    assert trading_status().unprotected.count == 1  # known in two ways
    assert trading.drift.count == 4
    connections = system_status.connections()
    assert (connections.total, connections.not_trading) == (100, 7)
    assert {line.code: line.count for line in connections.lines} == {
        "": 93, "CONNECTION_PAUSED": 4, "CIRCUIT_OPEN": 2, "CONNECTION_UNTESTED": 1,
    }  # fmt: skip


def test_leases_and_queues_state_their_condition(world: dict[str, Any]) -> None:
    assert [lease.alive for lease in system_status.leases()] == [False, True, True, True]
    exits, entries = trading_status().queues
    assert (exits.count, exits.state) == (0, ("ok", "Empty"))
    assert (entries.count, entries.state) == (1, ("attention", "Slow"))
    assert 45 < entries.oldest < 300


def test_latency_counts_each_step_of_recent_orders(world: dict[str, Any]) -> None:
    latencies = latency.recent()
    assert latencies.orders == 259
    steps = {step.name: step for step in latencies.steps}
    assert steps["Published → sent"].count == Order.objects.exclude(submitted_at=None).count()
    for step in latencies.steps:
        assert step.p50 <= step.p90 <= step.p99 <= step.maximum
    assert latencies.sent_p99 == steps["Published → sent"].p99


def test_dashboard_displays_the_figures(world: dict[str, Any], page: Page, client: Client) -> None:
    client.force_login(world["operator"])
    html = page("/admin/")
    assert "259 candidates of the last 4 signals, 259 in exactly one state" in html
    assert "Kill switch: feed Kiwi Carry, exits only" in html
    assert "4 paused by owner + 1 never tested + 2 circuit open" in html
    assert "The leases of 1 of 4 processes have expired." in html
    assert 'hx-trigger="every 2s"' in html
    assert "<html" not in page("/admin/console/live/")


def test_empty_installation_explains_each_empty_panel(db: None, page: Page, client: Client) -> None:
    PeriodicTask.objects.all().delete()
    client.force_login(seed.operator())
    html = page("/admin/")
    for text in ("No signals published yet", "No connections yet",
                  "No orders in the last 15 minutes", "No process has registered yet",
                  "No schedules enabled"):  # fmt: skip
        assert text in html


def test_dashboard_needs_few_queries_with_any_number_of_rows(
    world: dict[str, Any], client: Client
) -> None:
    client.force_login(world["operator"])
    client.get("/admin/console/live/")
    with statements() as sent:
        client.get("/admin/console/live/")
    assert len(sent) <= 24, "\n".join(sent)
    for number in range(20):
        WorkerLease.objects.create(
            id=f"w{number}", role="worker", host="h", pid=1, lease_until="2099-01-01T00:00:00Z"
        )
    with statements() as more:
        client.get("/admin/console/live/")
    assert len(more) == len(sent)


LISTS = (
    "execution/order", "positions/executionposition", "connections/executionconnection",
    "signals/signal", "connections/subscription", "execution/executionlog", "execution/fill",
    "execution/driftitem",
)  # fmt: skip


@WALK_TIME
def test_lists_need_a_bounded_number_of_queries(world: dict[str, Any], client: Client) -> None:
    client.force_login(world["operator"])
    with Walk(client) as walk:
        for name in walk.each(LISTS):
            with walk.cell(name, "operator") as cell:
                client.get(f"/admin/{name}/")
                with statements() as sent:
                    html = html_of(client.get(f"/admin/{name}/"))
                cell.expect_at_most(14, sent, "statements")
                cell.expect(True, "data-row" in html, "has a row")


def test_dashboard_states_that_no_email_is_sent(
    world: dict[str, Any], page: Page, client: Client, settings: Any
) -> None:
    client.force_login(world["operator"])
    assert "No e-mail is sent" not in page("/admin/console/live/")
    set_setting("users.staff_second_factor", False)
    settings.FILLCAST_ENV, settings.HAS_PUBLIC_URL = "production", True
    settings.EMAIL_BACKEND = "django.core.mail.backends.console.EmailBackend"
    html = page("/admin/console/live/")
    assert "No e-mail is sent" in html
    assert "FILLCAST_EMAIL_URL" in html
