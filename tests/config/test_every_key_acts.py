"""Each key of the operational settings has a test that it changes what Fillcast does.

A new key needs a line here and the test that it names.
"""

import ast
import re
from functools import cache

import pytest

from common.operational.reading import KEYS
from config.installation import ROOT

OF_SPECIFICATION = "execution/test_specified_settings.py"
POLICIES = "archive/test_days_of_policies.py"
STALE, WATCHDOG = "execution/recovery/test_stale_orders.py", "execution/monitoring/test_watchdog.py"
TIMES = "execution/submission/test_times_of_claims.py"
RATES = "api/test_rates.py::test_as_many_requests_of_a_scope_pass_as_are_set"

SHOWN_BY = {  # the test, in the folder tests
    "order_defaults.default_order_type":
        f"{OF_SPECIFICATION}::test_default_order_type_is_that_of_entries_which_name_none",
    "order_defaults.enable_limit_orders":
        f"{OF_SPECIFICATION}::test_order_types_that_are_off_are_neither_accepted_nor_sent",
    "order_defaults.enable_stop_orders":
        f"{OF_SPECIFICATION}::test_order_types_that_are_off_are_neither_accepted_nor_sent",
    "order_defaults.max_slippage_pips":
        f"{OF_SPECIFICATION}::test_slippage_limit_is_that_of_signals_which_state_none",
    "idempotency.enabled":
        f"{OF_SPECIFICATION}::"
        "test_idempotency_switched_off_keeps_no_answers_and_drops_no_constraint",
    "idempotency.check_window_hours":
        f"{OF_SPECIFICATION}::test_window_is_how_long_a_repetition_is_recognised",
    "idempotency.dedupe_by":
        f"{OF_SPECIFICATION}::test_dedupe_by_names_the_fields_that_are_compared",
    "fill_tracking.track_partial_fills":
        f"{OF_SPECIFICATION}::test_partial_fills_are_booked_but_not_notified_if_not_tracked",
    "fill_tracking.update_interval_seconds":
        f"{OF_SPECIFICATION}::test_update_interval_is_how_often_orders_are_polled",
    "fill_tracking.slippage_alert_threshold_pips":
        f"{OF_SPECIFICATION}::test_slippage_alert_follows_its_threshold",
    "fill_tracking.slippage_alert_threshold_basis_points":
        "execution/reports/test_slippage_units.py::"
        "test_alarm_of_a_coin_without_a_preset_follows_its_setting",
    "position_reconciliation.enabled":
        f"{OF_SPECIFICATION}::test_comparison_at_intervals_can_be_switched_off",
    "position_reconciliation.reconcile_interval_minutes":
        "config/test_beat.py::test_schedule_of_comparisons_follows_the_base_and_versions",
    "position_reconciliation.auto_correct_discrepancies":
        f"{OF_SPECIFICATION}::test_discrepancies_of_all_accounts_are_corrected_if_chosen",
    "execution.poll_seconds":
        "execution/runtime/test_poll_setting.py::test_due_orders_are_queried_every_poll_seconds",
    "execution.bundle_size":
        "execution/test_priorities.py::test_worker_takes_messages_by_priority",
    "execution.dispatch_slots":
        "execution/dispatch/test_concurrency.py::"
        "test_running_process_follows_the_setting_of_its_slots",
    "execution.send_deadline_seconds": f"{TIMES}::test_send_deadline_is_that_of_the_setting",
    "execution.call_timeout_seconds":
        f"{TIMES}::test_broker_may_take_as_long_to_answer_as_the_setting",
    "execution.market_entry_max_age_seconds":
        f"{TIMES}::test_market_entry_is_as_old_as_the_setting_allows",
    "execution.absence_gap_seconds":
        "execution/recovery/test_absence_gap.py::"
        "test_second_look_up_counts_after_the_gap_of_the_setting",
    "execution.lookup_max_interval_seconds":
        f"{STALE}::test_longest_look_up_pause_follows_its_setting",
    "execution.unknown_alert_seconds":
        f"{STALE}::test_alert_on_an_unknown_order_follows_its_setting",
    "execution.stuck_seconds":
        f"{STALE}::test_order_is_stuck_after_the_seconds_of_its_setting",
    "execution.stuck_answer_seconds":
        f"{STALE}::test_look_up_of_a_stuck_order_may_take_as_long_as_its_setting",
    "execution.session_lanes":
        "execution/lanes/test_lane_assignment.py::"
        "test_new_connections_are_spread_over_as_many_lanes_as_set",
    "execution.session_idle_seconds":
        "execution/sessions/test_idle_sessions.py::"
        "test_session_is_idle_after_the_seconds_of_its_setting",
    "api_rates.read": "api/test_rates.py::test_rate_is_a_users_over_all_keys",
    "api_rates.trade": RATES,
    "api_rates.publish": RATES,
    "api_rates.operate": RATES,
    "api_rates.prices": RATES,
    "api_rates.anonymous": "api/test_rates.py::test_visitors_have_a_rate_by_address",
    "users.sign_up":
        "portal/test_sign_up.py::test_sign_up_that_is_not_open_says_how_to_get_in",
    "users.staff_second_factor":
        "portal/test_second_factor.py::"
        "test_earlier_sessions_of_staff_end_when_it_becomes_required",
    "users.quotas": "common/test_quotas.py::test_number_in_force_is_that_of_the_setting",
    "networks.broker_networks": "connections/test_account_services.py::test_allowed_networks",
    "networks.gateway_owners":
        "connections/test_account_services.py::test_gateway_of_one_owner_is_refused_to_others",
    "networks.outbound_networks":
        "events/test_channels.py::test_unencrypted_webhooks_need_operator_permission",
    "maintenance.broker_windows":
        "execution/submission/test_maintenance_windows.py::"
        "test_published_windows_apply_unless_operators_define_their_own",
    "retention.log_days": "archive/test_policies.py::test_only_rows_older_than_the_policy_go",
    "retention.event_days": f"{POLICIES}::test_events_go_after_event_days",
    "retention.delivery_days": f"{POLICIES}::test_deliveries_go_after_delivery_days",
    "retention.webhook_days": f"{POLICIES}::test_messages_go_after_webhook_days",
    "retention.audit_run_days": f"{POLICIES}::test_audit_runs_go_after_audit_run_days",
    "retention.order_days":
        "execution/archived/test_what_goes.py::test_younger_than_the_policy_stays",
    "retention.archive_folder":
        "archive/test_commands.py::"
        "test_doctor_is_content_with_policies_that_work_or_want_nothing",
    "messages.log_level":
        "common/operational/test_following.py::"
        "test_log_level_reaches_a_process_that_asks_for_no_setting",
    "messages.push_contact":
        "events/test_push_parts.py::"
        "test_services_reach_the_operators_at_the_address_of_the_setting",
    "messages.texts": "events/test_templates.py::test_own_text_replaces_title_and_body",
    "watchdog.ping_url": f"{WATCHDOG}::test_dead_or_forbidden_address_is_stated",
    "watchdog.success_suffix": f"{WATCHDOG}::test_failure_is_sent_when_the_service_takes_it",
    "watchdog.fail_suffix": f"{WATCHDOG}::test_failure_is_sent_when_the_service_takes_it",
    "observe.sentry_dsn":
        "config/test_error_reports.py::"
        "test_another_dsn_is_used_from_then_on_and_none_ends_reports",
    "observe.otlp_url": "execution/test_traces.py::test_traces_follow_their_setting",
}  # fmt: skip


@cache
def read_tests(path: str) -> dict[str, str]:
    """Return the tests of a file by name, each with its decorators and without its name."""
    text = (ROOT / "tests" / path).read_text()
    lines = text.splitlines()
    found: dict[str, str] = {}
    for one in ast.walk(ast.parse(text)):
        if isinstance(one, ast.FunctionDef) and one.name.startswith("test_"):
            first = min([one.lineno, *(mark.lineno for mark in one.decorator_list)])
            body = "\n".join(lines[first - 1 : one.end_lineno])
            found[one.name] = body.replace(one.name, "")
    return found


def test_every_key_is_listed_with_a_test() -> None:
    assert list(SHOWN_BY) == list(KEYS)


@pytest.mark.parametrize("key", SHOWN_BY)
def test_named_test_exists_and_mentions_the_key(key: str) -> None:
    path, _, name = SHOWN_BY[key].partition("::")
    tests = read_tests(path)
    assert name in tests
    assert re.search(rf"\b{key.rpartition('.')[2]}\b", tests[name]), "it does not mention the key"
