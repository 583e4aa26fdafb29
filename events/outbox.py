"""The outbox: other apps write events in the statement that writes their cause."""

INSERT_EVENTS_SQL = (
    "INSERT INTO events_event (kind, user_id, connection_id, signal_id, order_id, payload)"
)
"""The start of such a statement. user_id: the owner; NULL: operators only. payload: jsonb."""
