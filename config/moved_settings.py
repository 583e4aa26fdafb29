"""Environment variables of earlier versions: a leftover one must not be ignored.

It imports nothing: deploy/ reads it without the packages.
"""

MOVED = {
    "FILLCAST_ABSENCE_GAP_SECONDS": "execution.absence_gap_seconds",
    "FILLCAST_API_ANONYMOUS_RATE": "api_rates.anonymous",
    "FILLCAST_API_OPERATE_RATE": "api_rates.operate",
    "FILLCAST_API_PUBLISH_RATE": "api_rates.publish",
    "FILLCAST_API_READ_RATE": "api_rates.read",
    "FILLCAST_API_TRADE_RATE": "api_rates.trade",
    "FILLCAST_ARCHIVE_FOLDER": "retention.archive_folder",
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
"""The variable: the path of the operational setting that it became."""

RENAMED = {
    "FILLCAST_ALLOWED_HOSTS": "FILLCAST_PUBLIC_URL has the host names now: name every address of"
    " this installation there, the one of links first, with commas between",
    "FILLCAST_BIND": "FILLCAST_LISTEN has address and port now, such as 0.0.0.0:8012",
    "FILLCAST_DB_POOLER": "FILLCAST_DATABASES has PgBouncer's address now: pooler=HOST:PORT",
    "FILLCAST_DEBUG": "FILLCAST_ENV=debug means that now",
    "FILLCAST_EMAIL_FROM": "FILLCAST_EMAIL_URL names the sender now: add ?from=ADDRESS to it",
    "FILLCAST_FAILPOINTS": "FILLCAST_REHEARSAL=failpoints=… means that now",
    "FILLCAST_INCOMING_BUSES": "FILLCAST_BUSES names them now: write from+ before each URL",
    "FILLCAST_LOG_FORMAT": "FILLCAST_ENV decides it now: JSON in production, except on a"
    " terminal; otherwise lines for people",
    "FILLCAST_MARKET_CLOCK": "FILLCAST_REHEARSAL=clock=… means that now",
    "FILLCAST_MT5_NAME": "FILLCAST_MT5_TERMINAL has the name now: NAME=PATH",
    "FILLCAST_MT5_PORTABLE": "FILLCAST_MT5_TERMINAL states it now: NAME=PATH /portable",
    "FILLCAST_PORT": "FILLCAST_LISTEN has the port now, alone (8012) or after an address;"
    " in a container with the address: 0.0.0.0:8012",
    "FILLCAST_REPLICA_DATABASE_URL": "FILLCAST_DATABASES has it now: replica=URL",
    "FILLCAST_SEND_JOURNAL_FOLDER": "it is found now: sends/ in FILLCAST_VAR if that is there, or a"
    " folder in memory",
    "FILLCAST_SINKS": "FILLCAST_BUSES names them now",
    "FILLCAST_TRADE_DATABASE_URL": "FILLCAST_DATABASES has it now: trade=URL, and"
    " pooler=HOST:PORT if that was PgBouncer's address",
    "FILLCAST_WEB_DATABASE_URL": "FILLCAST_DATABASES has it now: web=URL, and"
    " pooler=HOST:PORT if that was PgBouncer's address",
}
"""The variable: what to use in its place."""

OLD = {**MOVED, **RENAMED}


def describe_moved(name: str) -> str:
    """Return the error for a variable that has no effect any more."""
    if name in RENAMED:
        return f"{name} is set, but {RENAMED[name]}. Remove the variable."
    return (
        f"{name} is set, but it is the operational setting {MOVED[name]} now."
        " `python -m config.old_variables` prints the document of all such variables: name it in"
        " FILLCAST_SETTINGS_SOURCE, then remove the variable (docs/upgrades.md)."
    )
