"""Events, buses and settings of the specification, and where each lives."""

from ops.specification.table import Section, row

OUTSIDE_TERMS = (
    Section(
        "Events",
        "Each type has a JSON schema and an example in [docs/events](events/README.md); every "
        "sink sends the same.",
        (
            row(
                "`ORDER_UPDATE`",
                "`order_update`: every transition, with the status before and after",
                "buses/catalogue.py OrderUpdate",
                "docs/events/order_update.v1.schema.json",
            ),
            row(
                "`FILL`",
                "`fill`",
                "buses/catalogue.py Fill",
                "docs/events/fill.v1.schema.json",
            ),
            row(
                "`POSITION_OPENED`, `POSITION_CHANGED`, `POSITION_CLOSED`",
                "`position_opened`, `position_changed`, `position_closed`",
                "buses/catalogue.py PositionClosed",
                "docs/events/position_closed.v1.schema.json",
            ),
            row(
                "`FANOUT_DONE`",
                "`fanout_done`",
                "buses/catalogue.py FanoutDone",
                "docs/events/fanout_done.v1.schema.json",
            ),
            row(
                "`ANALYTICS_READY`",
                "`analytics_ready`",
                "buses/catalogue.py AnalyticsReady",
                "docs/events/analytics_ready.v1.schema.json",
            ),
            row(
                "alarms",
                "`notice`",
                "buses/catalogue.py Notice",
                "docs/events/notice.v1.schema.json",
            ),
            row(
                "envelope",
                "CloudEvents 1.0",
                "buses/envelope.py Envelope",
            ),
        ),
    ),
    Section(
        "Buses",
        "[Message buses and the stream](buses.md), [one page for the types](bus-types.md). None "
        "is on the path of an order.",
        (
            row(
                "NATS, `orders.{status}.{symbol}`",
                "out by JetStream, with the event's id against repetitions",
                "buses/nats/sink.py",
            ),
            row(
                "NATS, `signals.approved.>`",
                "in: a durable consumer that acknowledges after the commit; what is not approved "
                "becomes a dead letter",
                "buses/nats/consumer.py",
                "buses/incoming/models.py SIGNALS",
                "buses/incoming/signals.py",
            ),
            row(
                "NATS, `mt5.fills.*`",
                "executions of a foreign connector, applied as any broker's report",
                "buses/incoming/fills.py",
                "buses/incoming/models.py FILLS",
            ),
            row(
                "Kafka, `order_execution_archive`",
                "by account, idempotent",
                "buses/kafka/sink.py DEFAULT_TOPIC",
            ),
            row(
                "Redis Streams",
                "trimmed by length",
                "buses/redis_streams/sink.py",
            ),
            row(
                "ClickHouse, `orders`, `executions`, `positions`",
                "replaced by version; the three queries are files",
                "buses/clickhouse/sink.py",
                "buses/clickhouse/sql/tables.sql",
                "buses/clickhouse/sql/queries",
            ),
            row(
                "ClickHouse, `signals`",
                "polled",
                "buses/clickhouse/polling.py",
                "buses/clickhouse/sql/signals.sql",
            ),
            row(
                "stream for programs",
                "server-sent events, resumed by id; a tenant sees its own",
                "buses/stream/api.py StreamView",
                "buses/stream/access.py",
            ),
            row(
                "`register_fill_callback`",
                "a function for each fill, by an entry point",
                "buses/callbacks.py register_fill_callback",
            ),
        ),
    ),
    Section(
        "Settings",
        "The specification's document is a valid import. [All settings](operational-settings.md) "
        "change while everything runs.",
        (
            row(
                "`order_defaults`: `default_order_type`, `enable_limit_orders`, "
                "`enable_stop_orders`, `max_slippage_pips`",
                "the same; a type that is switched off is refused with `LIMIT_ORDERS_OFF` or "
                "`STOP_ORDERS_OFF`",
                "common/operational/document.py OrderDefaults",
            ),
            row(
                "`idempotency`: `enabled`, `check_window_hours`, `dedupe_by`",
                "the same; the database's unique constraints stay in any case",
                "common/operational/document.py Idempotency",
                "signals/checks/repetitions.py",
            ),
            row(
                "`fill_tracking`: `track_partial_fills`, `update_interval_seconds`, "
                "`slippage_alert_threshold_pips`",
                "the same",
                "common/operational/document.py FillTracking",
            ),
            row(
                "`position_reconciliation`: `enabled`, `reconcile_interval_minutes`, "
                "`auto_correct_discrepancies`",
                "the same",
                "common/operational/document.py PositionReconciliation",
            ),
            row(
                "central source",
                "a file or URL that the installation follows; a fault of it changes nothing",
                "common/operational/source.py fetch",
                "events/settings_upkeep.py follow_source",
            ),
            row(
                "versions, rollback",
                "rows that are only added; one click restores one",
                "common/models.py SettingsVersion",
                "common/operational/store.py restore",
            ),
        ),
    ),
)
