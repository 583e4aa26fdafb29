"""The alarm rules: each leads to a page, names real metrics, is raised by its failure alone."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from api.call_metrics import FAMILIES
from api.metrics import GAUGES

ROOT = Path(__file__).parents[2]
MONITORING = ROOT / "deploy/monitoring"
PAGE = ROOT / "docs/alarms.md"
INCIDENTS = ROOT / "docs/incidents"
RULES: list[dict[str, Any]] = yaml.safe_load((MONITORING / "alarms.yml").read_text())["groups"][0][
    "rules"
]
NAMES = [rule["alert"] for rule in RULES]
METRIC = re.compile(r"fillcast_[a-z_]+")
OTHERS = {
    "fillcast_database_up", "fillcast_redis_up", "fillcast_queue_length", "fillcast_dropped_total",
    "fillcast_figure_missing",
    "fillcast_web_request_seconds_count", "fillcast_web_request_seconds_bucket",
    "fillcast_settings_invalid", "fillcast_certificate_seconds_left",
}  # fmt: skip
COUNTED = {
    f"fillcast_{family.name}_{part}" for family in FAMILIES.values() for part in ("count", "bucket")
}
KNOWN = {f"fillcast_{gauge.name}" for gauge in GAUGES} | OTHERS | COUNTED

GOOD = "1x130"  # of every 10 s, for 20 minutes
NONE = "0x130"
FAST = 'fillcast_web_request_seconds_bucket{area="api",method="GET",status="2xx",le="%s"}'
CALLS = 'fillcast_broker_call_seconds_count{broker="ibkr",operation="submit",outcome="%s"}'
SUBMIT = (
    'fillcast_broker_call_seconds_bucket{broker="ibkr",operation="submit",outcome="ok",le="%s"}'
)
TASKS = 'fillcast_task_seconds_count{task="ExecuteSignal",outcome="%s"}'
LONG = 'fillcast_job_trouble_seconds_count{job="journals",outcome="long"}'
SHORTER = 'fillcast_job_trouble_seconds_bucket{job="journals",outcome="long",le="30.0"}'
WAITS = 'fillcast_rate_limit_wait_seconds_count{limit="ibkr",purpose="entry",outcome="%s"}'
LEFT = 'fillcast_certificate_seconds_left{file="/ca.pem",used_as="ca of nats://h"}'
QUIET = {
    LEFT: f"{31 * 86_400}x130",
    'up{job="fillcast",instance="a"}': GOOD,
    "fillcast_database_up": GOOD, "fillcast_redis_up": GOOD,
    'fillcast_processes{role="execution"}': GOOD, 'fillcast_processes{role="exits"}': GOOD,
    'fillcast_processes{role="maintenance"}': GOOD, 'fillcast_processes{role="prices"}': GOOD,
    'fillcast_lanes{held="yes"}': "3x130", 'fillcast_lanes{held="no"}': NONE,
    "fillcast_scheduler_seconds": "59x130", "fillcast_unprotected_seconds": "4x130",
    "fillcast_level_scan_seconds": "59x130", "fillcast_order_due_seconds": "9x130",
    "fillcast_order_unknown_seconds": "200x130",
    'fillcast_kill_switches{scope="FEED",mode="REDUCING"}': GOOD,
    'fillcast_audit_counter{counter="DUP"}': NONE, "fillcast_audit_seconds": "3600x130",
    "fillcast_audit_not_judged": NONE, "fillcast_epoch_open": NONE,
    'fillcast_drift_open{kind="UNKNOWN_ORDER"}': NONE,
    'fillcast_dropped_seconds{name="row.unreadable"}': "600x130",
    'fillcast_dropped_seconds{name="message.ended"}': "1x130",
    'fillcast_connections{status="ACTIVE"}': "95x130",
    'fillcast_connections{status="ERROR"}': "5x130",
    'fillcast_circuits_open{of="host"}': NONE, 'fillcast_circuits_open{of="account"}': "2x130",
    "fillcast_alert_wait_seconds": "5x130", "fillcast_event_wait_seconds": "30x130",
    "fillcast_mail_wait_seconds": "30x130",
    'fillcast_web_request_seconds_count{area="api",method="GET",status="2xx"}': "0+100x130",
    'fillcast_web_request_seconds_count{area="api",method="GET",status="5xx"}': "0+1x130",
    FAST % "2.5": "0+100x130", FAST % "5.0": "0+100x130", FAST % "+Inf": "0+100x130",
    CALLS % "ok": "0+100x130", CALLS % "refused": "0+50x130", CALLS % "unanswered": "0+5x130",
    CALLS % "failed": "0+5x130",
    'fillcast_hosts{broker="ibkr"}': "20x130",
    SUBMIT % "2.5": "0+100x130", SUBMIT % "5.0": "0+100x130", SUBMIT % "+Inf": "0+100x130",
    TASKS % "ok": "0+100x130", TASKS % "failed": "0+1x130",
    LONG: "0+5x130", SHORTER: "0+5x130",  # of many runs none goes on
    WAITS % "ok": "0+100x130", WAITS % "refused": "0+1x130",
    'fillcast_bus_lag_seconds{bus="nats://h"}': "4x130",
    'fillcast_bus_paused{bus="nats://h"}': NONE,
    'fillcast_bus_lag_seconds{bus="kafka://paused"}': "4000x130",
    'fillcast_bus_paused{bus="kafka://paused"}': GOOD,
    'fillcast_bus_dead_letters{bus="nats://h"}': NONE,
    'fillcast_bus_not_received_seconds{bus="nats://h#signals"}': "4x130",
    "fillcast_price_sources_alarmed": NONE, "fillcast_settings_invalid": NONE,
    'fillcast_price_source_pairs_suspect{source="1"}': NONE,
    'fillcast_price_source_pairs_on_fallback{source="1"}': NONE,
    'fillcast_price_source_pairs_without_fallback{source="1"}': NONE,
    'fillcast_price_source_refused_seconds{source="1"}': "61x130",
    "fillcast_watchdog_error_seconds": "60x130",
}  # fmt: skip
GONE = "_x130"
FAILURES = {
    "WebDoesNotAnswer": {'up{job="fillcast",instance="a"}': NONE},
    "DatabaseDoesNotAnswer": {"fillcast_database_up": NONE},
    "FiguresMissing": {'fillcast_figure_missing{name="epoch_open"}': GOOD},
    "RedisDoesNotAnswer": {"fillcast_redis_up": NONE},
    "NoWorker": {'fillcast_processes{role="execution"}': GONE},
    "NoExitWorker": {'fillcast_processes{role="exits"}': GONE},
    "NoMaintenanceWorker": {'fillcast_processes{role="maintenance"}': GONE},
    "NoPricesProcess": {'fillcast_processes{role="prices"}': GONE},
    "LanesNotHeld": {'fillcast_lanes{held="no"}': GOOD},
    "SchedulerLate": {"fillcast_scheduler_seconds": "130x130"},
    "WatchdogNotReached": {"fillcast_watchdog_error_seconds": "301x130"},
    "SettingsInvalid": {"fillcast_settings_invalid": GOOD},
    "CertificateEnds": {LEFT: f"{29 * 86_400}x130"},
    "CertificateUnusable": {LEFT: NONE},
    "PositionsUnprotected": {"fillcast_unprotected_seconds": "31x130"},
    "LevelScanLate": {"fillcast_level_scan_seconds": "130x130"},
    "OrdersOverdue": {"fillcast_order_due_seconds": "31x130"},
    "OrderUnknown": {"fillcast_order_unknown_seconds": "301x130"},
    "TradingHalted": {'fillcast_kill_switches{scope="ALL",mode="HALTED"}': GOOD},
    "PricesStopped": {"fillcast_price_sources_alarmed": GOOD},
    "PricesSuspect": {'fillcast_price_source_pairs_suspect{source="1"}': GOOD},
    "PricesOnFallback": {'fillcast_price_source_pairs_on_fallback{source="1"}': "2x130"},
    "FallbackStopped": {'fillcast_price_source_pairs_without_fallback{source="1"}': GOOD},
    "PushedQuotesRefused": {'fillcast_price_source_refused_seconds{source="1"}': "3x130"},
    "AuditFailed": {'fillcast_audit_counter{counter="DUP"}': GOOD},
    "AuditLate": {"fillcast_audit_seconds": "7201x130"},
    "AccountsNotJudged": {"fillcast_audit_not_judged": "2x900"},
    "RecoveryEpochOpen": {"fillcast_epoch_open": GOOD},
    "DifferencesWait": {'fillcast_drift_open{kind="UNKNOWN_ORDER"}': "3x900"},
    "MessagesDropped": {'fillcast_dropped_seconds{name="row.unreadable"}': "599x130"},
    "ConnectionsInError": {'fillcast_connections{status="ERROR"}': "20x130"},
    "BrokerHostDown": {'fillcast_circuits_open{of="host"}': GOOD},
    "AlertsWait": {"fillcast_alert_wait_seconds": "31x130"},
    "MessagesNotDelivered": {"fillcast_event_wait_seconds": "121x130"},
    "BrokerCallsFail": {CALLS % "unanswered": "0+60x130"},
    "OrdersSentSlowly": {SUBMIT % "2.5": "0+50x130"},
    "RateLimitsUsedUp": {WAITS % "refused": "0+20x130"},
    "TasksFail": {TASKS % "failed": "0+20x130"},
    "JobHangs": {LONG: "1x2 2x2 3x2 4x2 5x120", SHORTER: "1x130"},
    "BusBehind": {'fillcast_bus_lag_seconds{bus="nats://h"}': "301x130"},
    "BusRefusesEvents": {'fillcast_bus_dead_letters{bus="nats://h"}': GOOD},
    "BusNotReceived": {'fillcast_bus_not_received_seconds{bus="nats://h#signals"}': "31x130"},
    "BusMessagesNotCarriedOut": {'fillcast_bus_incoming_dead_letters{bus="nats://h"}': GOOD},
    "RequestsFail": {
        'fillcast_web_request_seconds_count{area="api",method="GET",status="5xx"}': "0+5x130"
    },
    "RequestsSlow": {FAST % "2.5": "0+50x130"},
}
HOSTS_DOWN = 'fillcast_hosts_down{broker="ibkr"}'
SEVERAL: list[tuple[dict[str, str], list[str]]] = [
    # One address of twenty is down: calls that the other nineteen fail are news.
    ({**FAILURES["BrokerCallsFail"], HOSTS_DOWN: GOOD}, ["BrokerCallsFail"]),
    ({**FAILURES["BrokerCallsFail"], HOSTS_DOWN: "20x130"}, []),
    (  # what was not read is not taken for absent
        {
            **{
                f'fillcast_processes{{role="{role}"}}': GONE
                for role in ("execution", "exits", "maintenance", "prices")
            },
            'fillcast_figure_missing{name="processes"}': GOOD,
        },
        ["FiguresMissing"],
    ),
]
BACK = {"fillcast_database_up": "0x5 1x124"}  # after a minute it answers again
LATE = {  # what waited meanwhile, in the first scrape
    "fillcast_order_due_seconds": "_x6 45 4x122",
    "fillcast_alert_wait_seconds": "_x6 45 4x122",
    'fillcast_bus_not_received_seconds{bus="nats://h#signals"}': "_x6 45 4x122",
    'fillcast_bus_lag_seconds{bus="nats://h"}': "_x6 400 4x122",
    "fillcast_level_scan_seconds": "_x6 170 4x122",
    "fillcast_scheduler_seconds": "_x6 170 4x122",
    "fillcast_event_wait_seconds": "_x6 170 4x122",
}
SEVERAL += [
    ({**BACK, **LATE}, []),
    # One late poll, or one mail that waits for its server's restart.
    ({name: LATE[name] for name in LATE if "received" in name or "event" in name}, []),
    ({LONG: "5x2 6x127", SHORTER: "5x130"}, []),  # a run of more than half a minute, which ended
]
MINUTES_UNTIL = {"PushedQuotesRefused": 6, "AccountsNotJudged": 125, "DifferencesWait": 35}


def unit_test(changed: dict[str, str], minutes: int, firing: list[str]) -> dict[str, Any]:
    """Return a test for promtool: what fires after so many minutes, with six samples each."""
    series = {**QUIET, **changed}
    if minutes > 20:
        series = {name: values.replace("x130", "x900") for name, values in series.items()}
    return {
        "interval": "10s",
        "input_series": [{"series": name, "values": what} for name, what in series.items()],
        "promql_expr_test": [{
            "expr": 'count by (alertname) (ALERTS{alertstate="firing"})',
            "eval_time": f"{minutes}m",
            "exp_samples": [
                {"labels": f'{{alertname="{name}"}}', "value": 1} for name in firing
            ],
        }],
    }  # fmt: skip


def test_each_failure_has_one_alarm_in_the_table() -> None:
    assert list(FAILURES) == NAMES


@pytest.mark.parametrize("rule", RULES, ids=NAMES)
def test_alarm_leads_to_a_page_with_three_steps(rule: dict[str, Any]) -> None:
    page = (ROOT / rule["annotations"]["runbook"]).read_text()
    before, _, after = page.partition("\n**Over when**")
    assert after, "states how you know that it is over"
    assert f"`{rule['alert']}`" in before.partition("\n1. ")[0], "names the alarm"
    assert re.findall(r"^(\d)\. ", before, re.MULTILINE) == ["1", "2", "3"]
    assert rule["annotations"]["summary"].endswith(".")


def test_list_has_each_alarm_with_its_severity_and_page() -> None:
    row = r"^\| `(\w+)` \| (page|look) \|.*\]\((\S+)\) \|$"
    listed = re.findall(row, PAGE.read_text(), re.MULTILINE)
    assert listed == [
        (
            rule["alert"],
            rule["labels"]["severity"],
            rule["annotations"]["runbook"].removeprefix("docs/"),
        )
        for rule in RULES
    ]


@pytest.mark.parametrize("page", sorted(INCIDENTS.glob("*.md")), ids=lambda page: page.stem)
def test_incident_has_three_steps_and_an_end(page: Path) -> None:
    before, _, after = page.read_text().partition("\n**Over when**")
    assert "**You notice:**" in before
    assert re.findall(r"^(\d)\. ", before, re.MULTILINE) == ["1", "2", "3"]
    assert after


@pytest.mark.parametrize("name", ["alarms.yml", "grafana.json"])
def test_rules_and_dashboard_name_metrics_that_exist(name: str) -> None:
    named = set(METRIC.findall((MONITORING / name).read_text()))
    assert named
    assert named <= KNOWN


def test_dashboard_reads_the_source_that_is_chosen() -> None:
    panels = json.loads((MONITORING / "grafana.json").read_text())["panels"]
    assert {panel["datasource"]["uid"] for panel in panels} == {"${source}"}
    assert len({panel["id"] for panel in panels}) == len(panels)


@pytest.mark.skipif(not shutil.which("promtool"), reason="promtool is in Debian's prometheus")
def test_each_failure_raises_its_alarm_alone(tmp_path: Path) -> None:
    """Within a minute, but for what may last longer."""
    tests = [unit_test({}, 19, []), unit_test({}, 125, [])]
    for name, changed in FAILURES.items():
        minutes = MINUTES_UNTIL.get(name, 1)
        tests.append(unit_test(changed, minutes, [name]))
    tests += [unit_test(changed, 1, firing) for changed, firing in SEVERAL]
    shutil.copy(MONITORING / "alarms.yml", tmp_path)
    file = tmp_path / "tests.yml"
    file.write_text(
        yaml.safe_dump({"rule_files": ["alarms.yml"], "evaluation_interval": "10s", "tests": tests})
    )
    done = subprocess.run(
        ["promtool", "test", "rules", str(file)], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
