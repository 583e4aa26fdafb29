"""Which loss limits apply to which accounts: the one place that decides it, in SQL.

A limit is of a preset, or of a subscription: then of the subscribing account and of all accounts
of its route.
"""

LIMITED_ACCOUNTS = """(
  SELECT c.id FROM connections_losslimit l
    JOIN connections_executionconnection c ON c.preset_id = l.preset_id
  UNION
  SELECT s.connection_id FROM connections_losslimit l
    JOIN connections_subscription s ON s.id = l.subscription_id AND s.archived_at IS NULL
  UNION
  SELECT r.connection_id FROM connections_losslimit l
    JOIN connections_subscription s ON s.id = l.subscription_id AND s.archived_at IS NULL
    JOIN connections_subscriptionroute r ON r.subscription_id = s.id)"""
"""SQL: the ids of the accounts with loss limits, their own or those of a route. Put
`EXISTS (SELECT FROM connections_losslimit)` beside it: then an installation without limits reads no
account."""

ANY_LOSS_LIMIT_SQL = """(EXISTS (SELECT FROM connections_losslimit)
  OR EXISTS (SELECT FROM connections_tradingpause WHERE ended_at IS NULL))"""
"""SQL: whether there is a loss limit, or a pause that has not ended."""


def applies_sql(*, account: str, preset: str) -> str:
    """Return the condition that the limit `l` applies to an account.

    account, preset: the expressions with their ids.
    """
    return f"""(l.preset_id = {preset} OR l.subscription_id IN (
    SELECT own.id FROM connections_subscription own
    WHERE own.connection_id = {account} AND own.archived_at IS NULL
    UNION ALL
    SELECT r.subscription_id FROM connections_subscriptionroute r
    JOIN connections_subscription routed ON routed.id = r.subscription_id
    WHERE r.connection_id = {account} AND routed.connection_id <> {account}
      AND routed.archived_at IS NULL))"""
