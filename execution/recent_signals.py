"""The signals of a user's newest orders, without reading all that the user ever traded."""

ORDERS_OF_AN_ACCOUNT = 60

_RECENT = f"""
WITH mine AS (
  SELECT DISTINCT o.signal_id FROM connections_executionconnection c
  CROSS JOIN LATERAL (
    SELECT x.signal_id FROM execution_order x WHERE x.connection_id = c.id
    ORDER BY x.id DESC LIMIT {ORDERS_OF_AN_ACCOUNT}) o
  WHERE c.user_id = %s AND o.signal_id IS NOT NULL
)
SELECT signal_id FROM mine
UNION
SELECT s.id FROM mine JOIN signals_signal s ON s.refers_to_id = mine.signal_id
WHERE s.action = 'MODIFY'
"""


def recent_signals_sql(user_id: int) -> tuple[str, list[int]]:
    """Return SQL of the ids of the signals of the last orders of each of a user's accounts, and of
    what modified them, with its parameters, as Django's `RawSQL` takes them."""
    return _RECENT, [user_id]
