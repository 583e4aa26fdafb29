"""The event that an entry has other terms at its broker: from what to what, and who wanted it."""

from execution.base.statements import event_rows_sql

_TERMS = ", ".join(
    f"'{name}', trim_scale(h.{name})::text, 'old_{name}', trim_scale(h.old_{name})::text"
    for name in ("quantity", "limit_price", "stop_price", "stop_loss", "take_profit")
)

_ENDS = ", ".join(
    f"'{name}', to_char(h.{name} AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS')"
    for name in ("valid_until", "old_valid_until")
)


def changed_event_sql(source: str, where: str = "true") -> str:
    """Return a SELECT of one `order.changed` for each row of a source, for `insert_events_sql`.

    source: as for `event_rows_sql`, with change_id. Terms that the order lacks are left out.
    """
    return event_rows_sql(
        f"{source} JOIN execution_entrychange h ON h.id = m.change_id",
        kind="'order.changed'",
        payload=f"jsonb_strip_nulls(jsonb_build_object({_TERMS}, {_ENDS}, 'by', h.requested_name))",
        where=where,
    )
