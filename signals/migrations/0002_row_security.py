"""Row-level security: a provider's own feeds, the public ones, and signals that one is entitled to.

Entitled: the published signals of a feed that one of my connections takes now, and those that were
published while it did. Who has left a feed keeps what they traded and sees nothing newer.

Apart from 0001, since the tables of `connections` refer to feeds, and these policies to connections.
"""

from django.db import migrations

from common.row_security import MY_CONNECTIONS, SIGNED_IN, TENANT, tenant_rows

MINE = f"owner_id = {TENANT}"
TAKEN = f"""id IN (
  SELECT sub.feed_id FROM connections_subscription sub WHERE sub.connection_id IN ({MY_CONNECTIONS}))"""
OF_MY_FEED = f"feed_id IN (SELECT mine.id FROM signals_feed mine WHERE mine.owner_id = {TENANT})"
ENTITLED = f"""published_at IS NOT NULL AND (
  feed_id IN (
    SELECT sub.feed_id FROM connections_subscription sub
    WHERE sub.archived_at IS NULL AND sub.connection_id IN ({MY_CONNECTIONS}))
  OR (feed_id IN (
        SELECT sub.feed_id FROM connections_subscription sub
        WHERE sub.connection_id IN ({MY_CONNECTIONS}))
      AND EXISTS (
        SELECT FROM connections_subscription sub
        JOIN connections_subscriptioninterval stood ON stood.subscription_id = sub.id
        WHERE sub.feed_id = signals_signal.feed_id AND sub.connection_id IN ({MY_CONNECTIONS})
          AND stood.started_at <= signals_signal.published_at
          AND (stood.ended_at IS NULL OR signals_signal.published_at < stood.ended_at))))"""


class Migration(migrations.Migration):
    dependencies = [("signals", "0001_initial"), ("connections", "0001_initial")]
    operations = [
        tenant_rows("signals_feed", MINE, read=f"{MINE} OR (is_public AND {SIGNED_IN}) OR {TAKEN}"),
        tenant_rows("signals_feedtoken", OF_MY_FEED),
        tenant_rows("signals_signal", OF_MY_FEED, read=f"{OF_MY_FEED} OR ({ENTITLED})"),
        tenant_rows("signals_receivedalert", OF_MY_FEED),
    ]
