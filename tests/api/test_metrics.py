"""The metrics that a scraper reads with its token, and that others get 404."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import InterfaceError
from django.http import HttpRequest, HttpResponse
from django.test import Client, RequestFactory
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.parser import text_string_to_metric_families

from api import database_figures
from api.database_figures import Answer, Figure
from api.request_metrics import REGISTRY, RequestMetricsMiddleware, area_of
from common.clocks import market_now
from common.db.sql import run
from common.process.metrics import Gauge
from connections.models import DataConnection, SourceHealth
from events.models import Channel
from execution.models import AuditRun, DriftItem, DroppedMessageCount, WorkerLease
from tests.connections import make
from tests.execution import factories

pytestmark = pytest.mark.django_db
TOKEN = "scrape-5b1f0a77c2d94e6f"


@pytest.fixture
def token(settings: Any) -> str:
    settings.FILLCAST_METRICS_TOKEN = TOKEN
    return f"Bearer {TOKEN}"


def scraped(client: Client, token: str) -> dict[str, float]:
    """Return the value of each sample by its name and labels, as written in the response."""
    response = client.get("/metrics", headers={"Authorization": token})
    assert response.status_code == 200
    assert response.headers["Content-Type"].startswith("text/plain")
    samples = {}
    for family in text_string_to_metric_families(response.content.decode()):
        assert family.name.startswith("fillcast_")
        assert family.documentation
        for sample in family.samples:
            labels = ",".join(f'{name}="{value}"' for name, value in sample.labels.items())
            samples[sample.name.removeprefix("fillcast_") + (f"{{{labels}}}" if labels else "")] = (
                sample.value
            )
    return samples


@pytest.mark.parametrize(
    "authorization", ["", "Bearer ", f"Bearer {TOKEN}x", TOKEN, f"bearer {TOKEN}"]
)
def test_metrics_are_404_without_the_token(client: Client, token: str, authorization: str) -> None:
    assert client.get("/metrics", headers={"Authorization": authorization}).status_code == 404


@pytest.mark.parametrize("unset", [None, ""])
def test_metrics_are_404_without_the_setting(client: Client, settings: Any, unset: Any) -> None:
    settings.FILLCAST_METRICS_TOKEN = unset
    for authorization in ("Bearer ", "Bearer None", f"Bearer {TOKEN}"):
        assert client.get("/metrics", headers={"Authorization": authorization}).status_code == 404


def test_operator_needs_the_token_too(client: Client, token: str) -> None:
    client.force_login(make.user(is_staff=True, is_superuser=True))
    assert client.get("/metrics").status_code == 404


@pytest.mark.django_db(transaction=True)
def test_metrics_are_answered_outside_of_a_transaction(client: Client, token: str) -> None:
    """As in the web process: its role in the database, and no transaction around the request."""
    run("SET ROLE fillcast_web")
    try:
        assert scraped(client, token)["positions_open"] == 0
    finally:
        run("RESET ROLE")


def test_metrics_of_an_empty_installation(client: Client, token: str) -> None:
    samples = scraped(client, token)
    for name in (
        "order_due_seconds", "order_unknown_seconds", "positions_open", "epoch_open",
        "positions_unprotected", "events_waiting", 'orders_live{state="PENDING"}',
    ):  # fmt: skip
        assert samples[name] == 0, name
    assert samples["redis_up"] == 1
    assert samples['queue_length{queue="exits"}'] == 0
    assert not [name for name in samples if name.startswith(("audit_ok", "drift_", "dropped"))]
    for name in ("audit_seconds", "scheduler_seconds", "level_scan_seconds"):
        assert samples[name] > 0, f"{name} states when the tables were made"


@pytest.fixture
def empty_fake_broker() -> Iterator[None]:
    factories.register()
    factories.fake_broker().reset()
    yield
    factories.fake_broker().reset()


@pytest.mark.usefixtures("empty_fake_broker")
def test_metrics_that_operators_alert_on(client: Client, token: str) -> None:
    factories.instrument()
    feed = make.feed()
    row = factories.account(feed)
    factories.signal(feed)
    factories.fill_all()
    factories.signal(feed)
    factories.signal(feed)
    factories.claim_all()
    run(
        "UPDATE execution_order SET status = 'UNKNOWN', submitted_at = clock_timestamp()"
        " - interval '1 hour' WHERE id = (SELECT max(id) FROM execution_order)"
    )
    run("UPDATE positions_executionposition SET sl_guardian = ''")
    DriftItem.objects.create(kind="UNKNOWN_ORDER", connection=row, key="x")
    DriftItem.objects.create(kind="UNKNOWN_ORDER", connection=row, key="y", state="IGNORED")
    AuditRun.objects.create(ok=True, counters={"DUP": 9}, at=market_now() - timedelta(hours=2))
    AuditRun.objects.create(ok=False, counters={"DUP": 0, "NAKED": 2})
    DroppedMessageCount.objects.create(name=DroppedMessageCount.Name.MALFORMED, count=4)
    WorkerLease.objects.create(
        id="a", role="execution+exits", host="h", pid=1,
        lease_until=market_now() + timedelta(hours=1),
    )  # fmt: skip
    WorkerLease.objects.create(id="b", role="exits", host="h", pid=2, lease_until=market_now())
    make.kill_switch("REDUCING", scope="ALL")
    source = DataConnection.objects.create(name="s", kind="broker", broker_connection=row)
    SourceHealth.objects.create(source=source, held_back=3)
    samples = scraped(client, token)
    assert samples.pop("order_unknown_seconds") == pytest.approx(3600, abs=60)
    expected = {
        'orders_live{state="SUBMITTING"}': 1, 'orders_live{state="UNKNOWN"}': 1,
        "positions_open": 1, "positions_unprotected": 1,
        'drift_open{kind="UNKNOWN_ORDER"}': 1,
        'audit_counter{counter="DUP"}': 0, 'audit_counter{counter="NAKED"}': 2, "audit_ok": 0,
        "audit_not_judged": 0,
        'dropped_total{name="message.malformed"}': 4,
        'processes{role="exits"}': 1, 'processes{role="execution"}': 1,
        'kill_switches{mode="REDUCING",scope="ALL"}': 1,
        'connections{status="ACTIVE"}': 1,
        f'price_source_quotes_held_back{{source="{source.pk}"}}': 3,
    }  # fmt: skip
    assert {name: samples.get(name) for name in expected} == expected
    assert samples["audit_seconds"] < 60
    assert samples['dropped_seconds{name="message.malformed"}'] < 60
    assert 0 <= samples[f'price_source_silent_seconds{{source="{source.pk}"}}'] < 60


@pytest.mark.usefixtures("empty_fake_broker")
def test_price_source_counts_while_something_open_needs_it(client: Client, token: str) -> None:
    factories.instrument()
    feed = make.feed()
    row = factories.account(feed)
    factories.signal(feed)
    factories.fill_all()
    source = DataConnection.objects.create(name="s", kind="broker", broker_connection=row)
    silent = market_now() - timedelta(minutes=1)
    SourceHealth.objects.create(source=source, last_contact_at=silent, alarmed_at=silent)
    assert scraped(client, token)["price_sources_alarmed"] == 0
    run(
        "UPDATE positions_executionposition SET price_source_id = %s, sl_guardian = 'ENGINE'",
        (source.pk,),
    )
    assert scraped(client, token)["price_sources_alarmed"] == 1
    run("UPDATE connections_sourcehealth SET last_contact_at = clock_timestamp()")
    assert scraped(client, token)["price_sources_alarmed"] == 0


def test_lane_counts_while_an_account_of_it_is_monitored(client: Client, token: str) -> None:
    row = factories.account(make.feed())
    run("UPDATE connections_executionconnection SET lane = 'mt5.alpha' WHERE id = %s", (row.pk,))
    assert scraped(client, token)['lanes{held="no"}'] == 1
    run("UPDATE connections_executionconnection SET is_active = false WHERE id = %s", (row.pk,))
    assert 'lanes{held="no"}' not in scraped(client, token)


def test_hosts_count_by_broker_type_while_accounts_need_them(client: Client, token: str) -> None:
    feed = make.feed()
    for name in "abc":
        row = factories.account(feed, name=name)
        run(
            "UPDATE connections_executionconnection SET type = 'ibkr', settings ="
            " jsonb_build_object('host', %s::text, 'port', 1) WHERE id = %s",
            (name, row.pk),
        )
    run("INSERT INTO connections_hostcircuit (host, opened_at, times, failing, contacted, message)"
        " SELECT broker_host, clock_timestamp(), 1, 1, 1, ''"
        " FROM connections_executionconnection ORDER BY broker_host LIMIT 2")  # fmt: skip
    samples = scraped(client, token)
    assert samples['hosts{broker="ibkr"}'] == 3
    assert samples['hosts_down{broker="ibkr"}'] == 2
    run("UPDATE connections_executionconnection SET is_active = false")
    assert not [name for name in scraped(client, token) if name.startswith("hosts")]


def test_requests_and_queues_are_reported_without_the_database(
    client: Client, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.get("/api/v1/no-such-thing/")

    def lost(*_: object) -> None:
        raise InterfaceError("the connection is closed")

    monkeypatch.setattr("api.database_figures.run", lost)
    samples = scraped(client, token)
    assert (samples["database_up"], samples["redis_up"]) == (0, 1)
    assert "positions_open" not in samples
    assert not [name for name in samples if name.startswith("figure_missing")]
    assert samples['web_request_seconds_count{area="api",method="GET",status="4xx"}'] >= 1


@pytest.mark.parametrize(
    ("path", "area"),
    [
        ("/", "portal"),
        ("/login/", "portal"),
        ("/positions/1/", "portal"),
        ("/admin/", "admin"),
        ("/api/v1/orders/", "api"),
        ("/hooks/x/", "hooks"),
        ("/healthz", "other"),
        ("/static/site.css", "other"),
    ],
)
def test_request_counts_for_its_part_of_the_site(path: str, area: str) -> None:
    assert area_of(path) == area


def test_figure_that_cannot_be_read_is_named_and_costs_no_other(client: Client, token: str) -> None:
    run("ALTER TABLE events_event RENAME TO gone")  # undone at the end of this test
    samples = scraped(client, token)
    missing = {name for name in samples if name.startswith("figure_missing")}
    assert missing == {
        f'figure_missing{{name="{name}"}}'
        for name in ("events_waiting", "event_wait_seconds", "mail_wait_seconds")
    }
    assert samples["database_up"] == 1
    assert samples["positions_open"] == 0


def test_statement_that_is_too_slow_is_ended_while_the_database_is_up(
    client: Client, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_figures, "LIMIT", "SET LOCAL statement_timeout = '500ms'")
    slow = Gauge("slow", "Slow.", (), "SELECT pg_sleep(3600), 1 AS value")
    monkeypatch.setattr("api.metrics.GAUGES", (slow,))
    samples = scraped(client, token)
    assert samples["database_up"] == 1
    assert samples['figure_missing{name="slow"}'] == 1


@pytest.mark.django_db(transaction=True)
def test_figures_that_were_read_stay_when_the_session_is_lost() -> None:
    """As if the total were used up, which ends the session."""
    read = GaugeMetricFamily("fillcast_read", "Read.", value=1)

    def lost() -> list[Metric]:
        run("SELECT pg_terminate_backend(pg_backend_pid())")
        return []

    def after() -> list[Metric]:
        pytest.fail("read without a limit")

    figures = [Figure("read", lambda: [read]), Figure("lost", lost), Figure("after", after)]
    answer = database_figures.read_figures(figures)
    assert answer == Answer(metrics=[read], is_up=True, missing=["lost", "after"])


def test_request_that_raises_is_counted_as_5xx(token: str) -> None:
    def fail(_request: HttpRequest) -> HttpResponse:
        raise ZeroDivisionError

    def counted() -> float | None:
        labels = {"area": "portal", "method": "other", "status": "5xx"}
        return REGISTRY.get_sample_value("fillcast_web_request_seconds_count", labels)

    before = counted() or 0
    with pytest.raises(ZeroDivisionError):
        RequestMetricsMiddleware(fail)(RequestFactory().generic("BREW", "/portals/x"))
    assert counted() == before + 1


def test_waits_of_alerts_messages_and_positions(client: Client, token: str) -> None:
    feed = make.feed()
    run(
        "INSERT INTO alerts_incomingalert (feed_id, source, source_key, body, state, received_at,"
        " expires_at) VALUES (%s, 'WEBHOOK', 'k', '', 'WAITING', clock_timestamp()"
        " - interval '90 s', clock_timestamp() + interval '1 h')",
        (feed.pk,),
    )
    run("INSERT INTO events_event (kind, payload, created_at) VALUES ('host.down', '{}',"
        " clock_timestamp() - interval '150 s')")  # fmt: skip
    run("INSERT INTO connections_hostcircuit (host, opened_at, times, failing, contacted, message)"
        " VALUES ('x', clock_timestamp(), 1, 1, 1, '')")  # fmt: skip
    samples = scraped(client, token)
    assert samples["alerts_waiting"] == 1
    assert samples["alert_wait_seconds"] == pytest.approx(90, abs=60)
    assert samples["event_wait_seconds"] == pytest.approx(150, abs=60)
    assert (samples['circuits_open{of="host"}'], samples['circuits_open{of="account"}']) == (1, 0)
    assert samples["unprotected_seconds"] == 0


SINCE = "UPDATE events_delivery SET released_at = clock_timestamp() - interval '10 s'"


@pytest.mark.parametrize(
    ("change", "seconds"),
    [
        ("SELECT", 28_800),
        ("UPDATE events_delivery SET hold_until = clock_timestamp() + interval '1 h'", 0),
        (SINCE, 10),  # quiet hours have ended
        ("UPDATE events_delivery SET status = 'FAILED', tries = 10", 28_800),
        ("UPDATE events_delivery SET status = 'FAILED', tries = 1", 0),  # we refused to send it
        ("UPDATE events_channel SET last_sent_at = clock_timestamp()", 0),
        ("UPDATE events_channel SET is_active = false", 0),
    ],
)
def test_mail_waits_from_the_time_on_from_which_it_may_be_sent(
    client: Client, token: str, change: str, seconds: int
) -> None:
    channel = Channel.objects.create(
        user=make.user(), name="mail", url_sealed=b"", url_display="mailto://olga"
    )
    run("INSERT INTO events_event (kind, payload, created_at, routed_at) VALUES ('host.down', '{}',"
        " clock_timestamp() - interval '8 h', clock_timestamp())")  # fmt: skip
    run("INSERT INTO events_delivery (event_id, channel_id) SELECT max(id), %s FROM events_event",
        (channel.pk,))  # fmt: skip
    run(change)
    assert scraped(client, token)["mail_wait_seconds"] == pytest.approx(seconds, abs=60)


def test_other_metrics_are_reported_without_redis(
    client: Client, token: str, settings: Any
) -> None:
    settings.REDIS_URL = "redis://127.0.0.1:1"
    samples = scraped(client, token)
    assert samples["redis_up"] == 0
    assert not [name for name in samples if name.startswith("queue_length")]
