"""Environment variables that became operational settings: a leftover one must not be ignored."""

MOVED = {
    "FILLCAST_ABSENCE_GAP_SECONDS": "execution.absence_gap_seconds",
    "FILLCAST_API_ANONYMOUS_RATE": "api_rates.anonymous",
    "FILLCAST_API_OPERATE_RATE": "api_rates.operate",
    "FILLCAST_API_PUBLISH_RATE": "api_rates.publish",
    "FILLCAST_API_READ_RATE": "api_rates.read",
    "FILLCAST_API_TRADE_RATE": "api_rates.trade",
    "FILLCAST_BROKER_MAINTENANCE_WINDOWS": "maintenance.broker_windows",
    "FILLCAST_BROKER_NETWORKS": "networks.broker_networks",
    "FILLCAST_BUNDLE_SIZE": "execution.bundle_size",
    "FILLCAST_CALL_TIMEOUT_SECONDS": "execution.call_timeout_seconds",
    "FILLCAST_DISPATCH_SLOTS": "execution.dispatch_slots",
    "FILLCAST_GATEWAY_OWNERS": "networks.gateway_owners",
    "FILLCAST_LOG_LEVEL": "messages.log_level",
    "FILLCAST_LOOKUP_MAX_INTERVAL_SECONDS": "execution.lookup_max_interval_seconds",
    "FILLCAST_MARKET_ENTRY_MAX_AGE_SECONDS": "execution.market_entry_max_age_seconds",
    "FILLCAST_OUTBOUND_NETWORKS": "networks.outbound_networks",
    "FILLCAST_POLL_SECONDS": "execution.poll_seconds",
    "FILLCAST_PUSH_CONTACT": "messages.push_contact",
    "FILLCAST_QUOTAS": "users.quotas",
    "FILLCAST_RETENTION_AUDIT_RUN_DAYS": "retention.audit_run_days",
    "FILLCAST_RETENTION_DELIVERY_DAYS": "retention.delivery_days",
    "FILLCAST_RETENTION_EVENT_DAYS": "retention.event_days",
    "FILLCAST_RETENTION_LOG_DAYS": "retention.log_days",
    "FILLCAST_RETENTION_ORDER_DAYS": "retention.order_days",
    "FILLCAST_RETENTION_WEBHOOK_DAYS": "retention.webhook_days",
    "FILLCAST_SEND_DEADLINE_SECONDS": "execution.send_deadline_seconds",
    "FILLCAST_SESSION_IDLE_SECONDS": "execution.session_idle_seconds",
    "FILLCAST_SESSION_LANES": "execution.session_lanes",
    "FILLCAST_SIGN_UP": "users.sign_up",
    "FILLCAST_SLIPPAGE_ALERT_BASIS_POINTS": "fill_tracking.slippage_alert_threshold_basis_points",
    "FILLCAST_SLIPPAGE_ALERT_PIPS": "fill_tracking.slippage_alert_threshold_pips",
    "FILLCAST_STAFF_SECOND_FACTOR": "users.staff_second_factor",
    "FILLCAST_STUCK_ANSWER_SECONDS": "execution.stuck_answer_seconds",
    "FILLCAST_STUCK_SECONDS": "execution.stuck_seconds",
    "FILLCAST_UNKNOWN_ALERT_SECONDS": "execution.unknown_alert_seconds",
    "FILLCAST_UPDATE_INTERVAL_SECONDS": "fill_tracking.update_interval_seconds",
}
"""The variable: the path of the setting."""


def describe_moved(name: str) -> str:
    """Return the error for a variable that has no effect any more."""
    return (
        f"{name} is set, but it is the operational setting {MOVED[name]} now."
        " `python -m config.old_variables` prints the document of all such variables: name it in"
        " FILLCAST_SETTINGS_SOURCE, then remove the variable (docs/upgrades.md)."
    )
