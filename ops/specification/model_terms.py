"""Classes, jobs, tables and statuses of the specification, and where each lives."""

from ops.specification.table import Section, row

MODEL_TERMS = (
    Section(
        "Classes and jobs",
        "",
        (
            row(
                "`SignalObserver`",
                "a receiver of `signal_published`, in the transaction of the publication: no "
                "signal is published without its orders",
                "execution/receivers.py on_signal_published",
                "signals/signals.py signal_published",
            ),
            row(
                "`ExecuteSignal`",
                "the Celery task of an order. A message names up to 250 rows, and each row is its "
                "own job: it is found without its message, too",
                "execution/tasks.py ExecuteSignal",
            ),
            row(
                "`SignalExecutionService`",
                "fan-out writes the rows, the claim decides, the dispatcher sends",
                "execution/fan_out.py fan_out",
                "execution/submission/claim.py claim",
                "execution/dispatch/order_dispatcher.py OrderDispatcher",
            ),
            row(
                "`OrderValidator`",
                "pure functions for each order in the claim; a signal's own fields are checked "
                "when it is entered",
                "execution/submission/bundle_evaluation.py evaluate",
                "execution/submission/risk.py",
                "signals/reading/draft.py",
            ),
            row(
                "`ExecutionTracker`",
                "one entry for what brokers report, in any order and any number of times",
                "execution/reports/apply.py apply_reports",
                "execution/reports/transitions.py",
            ),
            row(
                "`IBKROrderManager`",
                "the adapter of Interactive Brokers",
                "brokers/ibkr/orders.py",
                "brokers/ibkr/bracket_orders.py",
            ),
            row(
                "broker services",
                "one adapter for each broker behind one interface, checked by one list of checks",
                "brokers/base.py BrokerAdapter",
                "brokers/registry.py",
                "conformance/registry.py",
            ),
            row(
                "`PositionService`",
                "positions are written by reports only; closing one makes an order",
                "execution/services.py close_position",
                "positions/levels.py",
            ),
            row(
                "`ConnectionService`",
                "accounts, credentials, tests",
                "connections/accounts/services.py",
                "connections/health/connection_checks.py run_test",
            ),
            row(
                "`ConnectionHealthCheck`",
                "reads of every account, tests that are due, circuit breakers",
                "connections/tasks.py run_due_tests",
                "connections/health/status_updates.py mark_errors",
            ),
            row(
                "`HasEncryptedCredentials`",
                "`get_credential`, `set_credential` of the account: sealed with a public key, "
                "opened in trading processes only",
                "connections/models/accounts.py get_credential",
                "connections/sealing.py",
            ),
            row(
                "`MonitorPositions`",
                "every tick in the process *prices*, and a scan of all levels every minute",
                "execution/tasks.py watch_positions",
                "execution/monitoring/tick_monitor.py",
                "execution/monitoring/scan_heartbeat.py",
            ),
            row(
                "`UpdateAnalytics`",
                "a daily job, one row for each account and trading day",
                "analytics/tasks.py compute_daily",
                "analytics/services.py compute_day",
            ),
            row(
                "reconciliation",
                "every five minutes by default, after each connect, and on demand",
                "execution/reconciliation/reconcile.py reconcile",
            ),
            row(
                "a sample order",
                "one button, on paper and demo accounts: published, executed by the usual way, "
                "closed by a second button",
                "execution/sample_orders.py place_sample",
                "portal/views/sample_orders.py",
                "api/trading/sample_orders.py",
            ),
            row(
                "execution statistics",
                "the object `total_orders … total_commission`, by broker, symbol, hour, order "
                "type, account and place in the fan-out",
                "analytics/installation/figures.py statistics",
                "analytics/installation/api.py InstallationExecutionView",
            ),
            row(
                "operators' console",
                "Django admin: connection tests, logs, halts, differences",
                "console/unfold_settings.py",
                "console/execution_admin.py",
                "connections/admin/accounts.py",
            ),
        ),
    ),
    Section(
        "Tables",
        "",
        (
            row(
                "`ExecutionConnection`",
                "the same; pages say account",
                "connections/models/accounts.py ExecutionConnection",
            ),
            row(
                "`ExecutionLog`",
                "the same, append-only",
                "execution/models/records.py ExecutionLog",
            ),
            row(
                "`ExecutionPosition`",
                "the same",
                "positions/models.py ExecutionPosition",
            ),
            row(
                "`ExecutionAnalytics`",
                "one row for each account and trading day",
                "analytics/models.py AnalyticsDaily",
            ),
            row(
                "`TradingPreset`, `DataConnection`",
                "the same",
                "connections/models/presets.py TradingPreset",
                "connections/models/sources.py DataConnection",
            ),
            row(
                "`has_error`, `mark_as_error`, `mark_as_active`, `get_health_status`",
                "methods of the account",
                "connections/models/accounts.py mark_as_error",
            ),
            row(
                "`trade_plan_id`, `strategy_id`",
                "fields of a signal, in the API, in events and in the lines of the log",
                "signals/models/signals.py trade_plan_id",
                "execution/submission/outgoing.py trade_plan_id",
            ),
            row(
                "`idempotency_key`",
                "a signal's external id, one for each feed; the header Idempotency-Key of "
                "requests; a client order id for each order",
                "signals/publishing/ingest.py save_draft",
                "common/web/repeatable.py",
                "execution/ids.py new_client_order_id",
            ),
            row(
                "`cancelled_at`",
                "of a signal; of an order the time at which it ended, in the event `order_update`",
                "signals/models/signals.py cancelled_at",
                "buses/catalogue.py cancelled_at",
            ),
        ),
    ),
    Section(
        "Statuses of an order",
        "The API's `lifecycle` has the specification's words; `status` is what the engine decides "
        "by (`execution/models/status.py`).",
        (
            row(
                "`RECEIVED`, `VALIDATED`",
                "`PENDING`; the intent is written: `SUBMITTING`",
                "api/trading/order_serializers.py lifecycle_of",
            ),
            row(
                "`SUBMITTED`, `PARTIALLY_FILLED`, `FILLED`, `CANCELLED`, `REJECTED`, `EXPIRED`",
                "the same",
                "execution/models/status.py",
            ),
            row(
                "`CLOSED`",
                "the position of the entry is closed",
                "api/trading/order_serializers.py CLOSED",
            ),
            row(
                "besides",
                "`CANCEL_REQUESTED` (the broker is asked to), `SKIPPED` (not eligible), `DENIED` "
                "(by our rules), `FAILED` (proven not sent), `UNKNOWN` (not known yet)",
                "execution/models/status.py",
            ),
        ),
    ),
)
