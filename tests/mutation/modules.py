"""The modules that decide about money, rights or truth, with the tests that notice changes."""

from dataclasses import dataclass
from pathlib import Path

SUBMISSION, REPORTS = "tests/execution/submission/", "tests/execution/reports/"


@dataclass(frozen=True, slots=True)
class Module:
    """The tests that must notice a change of a module; without a database they run in seconds."""

    tests: tuple[str, ...]
    needs_database: bool = True


# The longest first: the last one to finish decides how long a run takes.
MODULES = {
    "execution/reports/apply.py": Module(
        tuple(
            f"{REPORTS}test_{name}.py" for name in ("apply", "fill_corrections", "inferred_closes")
        )
    ),
    "execution/submission/claim.py": Module(
        (f"{SUBMISSION}test_claim.py", f"{SUBMISSION}test_deferral.py")
    ),
    "execution/submission/claim_writes.py": Module(
        (f"{SUBMISSION}test_claim.py", f"{SUBMISSION}test_deferral.py")
    ),
    "execution/submission/flow_limits.py": Module(
        tuple(
            f"{SUBMISSION}test_{name}.py"
            for name in ("denial_values", "limit_edges", "flow_limits")
        )
    ),
    "execution/submission/triggers.py": Module(
        (
            f"{SUBMISSION}test_denial_values.py",
            f"{SUBMISSION}test_limit_edges.py",
            f"{SUBMISSION}test_trailing_at_broker.py",
            f"{SUBMISSION}test_conditions.py",
            "tests/execution/monitoring/test_triggers.py",
            "tests/execution/monitoring/test_fired_triggers.py",
            "tests/execution/monitoring/test_trigger_batches.py",
            "tests/execution/monitoring/test_trigger_sources.py",
            "tests/execution/monitoring/test_trigger_upkeep.py",
            "tests/execution/monitoring/test_oco.py",
        )
    ),
    "execution/submission/market_limits.py": Module(
        tuple(
            f"{SUBMISSION}test_{name}.py"
            for name in ("denial_values", "limit_edges", "market_limits", "market_hours")
        )
    ),
    "execution/submission/signal_limits.py": Module(
        tuple(
            f"{SUBMISSION}test_{name}.py"
            for name in ("denial_values", "limit_edges", "signal_limits")
        )
    ),
    "execution/reports/order_changes.py": Module((f"{REPORTS}test_order_changes.py",)),
    "execution/reports/inferred_closes.py": Module((f"{REPORTS}test_inferred_closes.py",)),
    "execution/reports/transitions.py": Module(
        (f"{REPORTS}test_transitions.py",), needs_database=False
    ),
    "prices/ranges.py": Module(("tests/prices/test_ranges.py",), needs_database=False),
    "execution/submission/risk.py": Module((f"{SUBMISSION}test_risk.py",), needs_database=False),
    "execution/submission/sizing.py": Module(
        (f"{SUBMISSION}test_sizing.py", f"{SUBMISSION}test_worked_examples.py"),
        needs_database=False,
    ),
}


# Those around them, the tests of each named once for all.
EXITS, MONITORING = "tests/execution/exits/", "tests/execution/monitoring/"
CONNECTIONS, ANALYTICS = "tests/connections/test_", "tests/analytics/test_"
RECONCILIATION = "tests/execution/reconciliation"
MODULES |= {
    "common/permissions.py": Module(
        tuple(f"tests/users/test_{n}.py" for n in ("permissions", "tenancy", "rights_and_state"))
    ),
    "execution/exits/dust.py": Module((f"{EXITS}test_dust.py",)),
    "execution/exits/partial_closes.py": Module(
        ("tests/execution/test_partial_closes.py", f"{EXITS}test_targets.py")
    ),
    "execution/exits/order_sizes.py": Module((EXITS,)),
    "execution/exits/reservations.py": Module(
        (f"{EXITS}test_reservations.py", "tests/execution/test_halfway_exits.py")
    ),
    "execution/exits/safety.py": Module((f"{EXITS}test_safety.py", f"{EXITS}test_over_close.py")),
    "execution/exits/trade_parts.py": Module((f"{EXITS}test_trade_parts.py",)),
    "execution/monitoring/incomplete_closes.py": Module(
        (f"{MONITORING}test_incomplete_closes.py",)
    ),
    "execution/monitoring/loss_limits.py": Module((f"{MONITORING}test_loss_limits.py",)),
    "execution/monitoring/stop_rules.py": Module(
        (f"{MONITORING}test_stop_rules.py", f"{MONITORING}test_stop_rules_of_slices.py")
    ),
    "execution/monitoring/time_exits.py": Module((f"{MONITORING}test_time_exits.py",)),
    "execution/reconciliation/missing_positions.py": Module((RECONCILIATION,)),
    "execution/reconciliation/auto_correction.py": Module((RECONCILIATION,)),
    "execution/reconciliation/compare_orders.py": Module((RECONCILIATION,)),
    "execution/reconciliation/compare_positions.py": Module((RECONCILIATION,)),
    "execution/reports/fees.py": Module(
        (f"{REPORTS}test_fees.py", f"{REPORTS}test_commissions.py")
    ),
    "execution/reports/broker_exits.py": Module((f"{REPORTS}test_broker_exits.py",)),
    "execution/submission/limits.py": Module(
        (f"{SUBMISSION}test_denial_values.py", f"{SUBMISSION}test_limit_edges.py")
    ),
    "execution/submission/route_choices.py": Module(
        (f"{SUBMISSION}test_routing.py", f"{SUBMISSION}test_routed_entries.py")
    ),
    "connections/exposure.py": Module(
        ("tests/execution/test_halfway_sums.py", "tests/execution/test_open_exposure.py")
    ),
    "connections/loss_limits/figures.py": Module(
        tuple(f"{CONNECTIONS}{n}.py" for n in ("limit_borders", "loss_limit_rules", "cash_flows"))
    ),
    "connections/loss_limits/pauses.py": Module(
        (f"{CONNECTIONS}limit_borders.py", f"{CONNECTIONS}limit_races.py")
    ),
    "connections/loss_limits/rules.py": Module(
        tuple(f"{CONNECTIONS}{n}.py" for n in ("limit_borders", "loss_limit_rules", "limit_races"))
    ),
    "connections/trading_day.py": Module(
        (f"{CONNECTIONS}trading_day.py", f"{ANALYTICS}day_borders.py")
    ),
    "users/sign_in/attempt_limits.py": Module(
        ("tests/users/test_expiry_borders.py", "tests/users/test_one_use_races.py")
    ),
    "users/sign_in/second_factor.py": Module(("tests/users", "tests/portal/test_second_factor.py")),
    "analytics/results/costs.py": Module((f"{ANALYTICS}costs.py",)),
    "analytics/results/equity.py": Module(
        tuple(f"{ANALYTICS}{n}.py" for n in ("reading_borders", "compute_day", "day_borders"))
    ),
    "analytics/results/statistics.py": Module(
        (f"{ANALYTICS}statistics.py", f"{ANALYTICS}results.py")
    ),
    "positions/closed_results.py": Module(
        (
            f"{REPORTS}test_commissions.py",
            f"{REPORTS}test_swaps.py",
            f"{CONNECTIONS}limit_borders.py",
        )
    ),
    "positions/exit_minimums.py": Module((f"{EXITS}test_dust.py", f"{EXITS}test_targets.py")),
    "positions/stop_rules.py": Module(("tests/positions/test_stop_rules.py",)),
    "signals/checks/price_guard.py": Module(
        (f"{SUBMISSION}test_price_guard.py", "tests/alerts/test_alert_directions.py")
    ),
}


def module_of(name: str) -> Module:
    """Return the tests of a module: those of MODULES, or else all tests of its package."""
    return MODULES.get(name) or Module((f"tests/{Path(name).parent}/",))
