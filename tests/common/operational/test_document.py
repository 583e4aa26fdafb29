"""The document is validated as a whole: every fault at once, with its path and what is allowed."""

import json
from decimal import Decimal
from typing import Any

import pytest

from common.operational.document import FIRST, Document
from common.operational.reading import (
    KEYS,
    Change,
    InvalidDocumentError,
    differences,
    dump,
    merged,
    parse,
    read,
)

SPECIFIED = """{
  "order_defaults": {
    "default_order_type": "MARKET", "enable_limit_orders": true, "enable_stop_orders": true,
    "max_slippage_pips": 3
  },
  "idempotency": {"enabled": true, "check_window_hours": 24, "dedupe_by": "signal_id"},
  "fill_tracking": {
    "track_partial_fills": true, "update_interval_seconds": 1, "slippage_alert_threshold_pips": 5
  },
  "position_reconciliation": {
    "enabled": true, "reconcile_interval_minutes": 5, "auto_correct_discrepancies": false
  }
}"""


def faults(document: dict[str, Any], **terms: Any) -> list[str]:
    with pytest.raises(InvalidDocumentError) as refused:
        read(document, **terms)
    return [str(fault) for fault in refused.value.faults]


def test_empty_document_is_the_defaults() -> None:
    assert read({}, lease_seconds=10) == Document()
    assert read(dump(Document()), lease_seconds=10) == Document()


def test_document_of_the_specification_is_valid() -> None:
    found = read(parse(SPECIFIED), lease_seconds=10)
    assert found.order_defaults.max_slippage_pips == 3
    assert found.idempotency.dedupe_by == ("signal_id",)
    assert found.position_reconciliation.reconcile_interval_minutes == 5


def test_all_faults_are_reported_together_with_their_paths() -> None:
    assert faults(
        {
            "execution": {"poll_seconds": 9, "pol_seconds": 1, "bundle_size": True},
            "order_defaults": {"default_order_type": "ICEBERG", "max_slippage_pips": "-1"},
            "networks": {"broker_networks": ["10.0.0.1/8"]},
            "api_rates": [],
            "exekution": {},
        }
    ) == [
        "execution.poll_seconds: Expected a whole number from 1 to 5, got 9.",
        "execution.pol_seconds: Unknown key; expected one of poll_seconds, bundle_size,"
        " dispatch_slots, send_deadline_seconds, call_timeout_seconds,"
        " market_entry_max_age_seconds, absence_gap_seconds, lookup_max_interval_seconds,"
        " unknown_alert_seconds, stuck_seconds, stuck_answer_seconds, session_lanes,"
        " session_idle_seconds.",
        "execution.bundle_size: Expected a whole number from 1 to 5000, got true.",
        "order_defaults.default_order_type: Expected one of MARKET, LIMIT, STOP, STOP_LIMIT,"
        ' IF_TOUCHED, TRAILING_STOP, got "ICEBERG".',
        'order_defaults.max_slippage_pips: Expected a number from 0 to 100000, or null, got "-1".',
        "networks.broker_networks: Expected a list without repetitions, each a network such as"
        ' 10.0.0.0/8, got ["10.0.0.1/8"].',
        "api_rates: Expected an object, got [].",
        "exekution: Unknown key; expected one of order_defaults, idempotency, fill_tracking,"
        " position_reconciliation, execution, api_rates, users, networks, maintenance, retention,"
        " messages, watchdog, observe.",
    ]


def test_all_pairs_that_contradict_each_other_are_reported() -> None:
    document = {
        "execution": {"send_deadline_seconds": 9, "call_timeout_seconds": 60},
        "order_defaults": {
            "default_order_type": "STOP_LIMIT",
            "enable_limit_orders": False,
            "enable_stop_orders": False,
        },
    }
    paths = [fault.split(":")[0] for fault in faults(document, lease_seconds=9)]
    assert paths == [
        "execution.send_deadline_seconds", "execution.absence_gap_seconds",
        "order_defaults.default_order_type",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("path", "given"),
    [
        ("execution.poll_seconds", 1.5),
        ("execution.poll_seconds", "two"),
        ("execution.poll_seconds", None),
        ("fill_tracking.update_interval_seconds", "NaN"),
        ("fill_tracking.update_interval_seconds", "1e1"),
        ("fill_tracking.update_interval_seconds", Decimal("Infinity")),
        ("idempotency.enabled", 1),
        ("idempotency.dedupe_by", ["symbol", "symbol"]),
        ("idempotency.dedupe_by", ["colour"]),
        ("retention.order_days", 399),
        ("networks.gateway_owners", ["10.0.0.5=alice   # hers"]),
        ("networks.gateway_owners", ["10.0.0.5="]),
        ("messages.push_contact", "nobody"),
        ("watchdog.ping_url", "hc-ping.com/1"),
        ("watchdog.ping_url", "https://hc-ping.com/1 2"),
        ("users.quotas", {"presets": 4, "Presets": 5}),
    ],
)
def test_value_of_another_kind_is_refused(path: str, given: object) -> None:
    group, _, name = path.partition(".")
    (fault,) = faults({group: {name: given}})
    assert fault.startswith(f"{path}: Expected ")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("{", "not valid JSON"),
        ("[]", "Expected a JSON object"),
        ('{"execution": {}, "execution": {}}', "'execution' is there more than once"),
        ('{"execution": {"poll_seconds": NaN}}', "NaN is not a number"),
        ("[" * 100_000, "not valid JSON"),
        (json.dumps({"x": "y" * 200_000}), "more than 200,000 characters"),
    ],
)
def test_text_that_is_no_document_is_refused(text: str, fault: str) -> None:
    with pytest.raises(InvalidDocumentError, match=fault):
        parse(text)


def test_numbers_are_exact_from_import_to_export() -> None:
    given = parse('{"fill_tracking": {"slippage_alert_threshold_pips": 0.1}}')
    found = read(given)
    assert found.fill_tracking.slippage_alert_threshold_pips == Decimal("0.1")
    assert dump(found)["fill_tracking"]["slippage_alert_threshold_pips"] == "0.1"
    assert read(parse(json.dumps(dump(found)))) == found


def test_change_names_only_what_differs() -> None:
    before = dump(Document())
    after = merged(before, {"execution": {"poll_seconds": 1}})
    assert differences(before, after) == [Change("execution.poll_seconds", 2, 1)]
    assert differences({"old": {"key": 1}}, {}) == [Change("old.key", 1, None)]


def test_every_setting_has_a_sentence_and_a_valid_default() -> None:
    for key in KEYS.values():
        assert key.sentence.endswith(".")
        assert key.kind.read(key.kind.write(key.default)) == key.default
    assert set(FIRST) <= set(KEYS)
