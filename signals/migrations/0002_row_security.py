"""Row-level security of feeds and signals.

A user reaches their own and public feeds, and the published signals of feeds that a connection of
theirs takes now or took when they were published. After leaving a feed, a user keeps access to what
they traded and sees nothing newer.

Separate from 0001, since tables of `connections` refer to feeds, and these policies to connections.
"""

from django.db import migrations

from common.row_security import MY_CONNECTIONS_BY_SUBSELECT, SIGNED_IN, TENANT, tenant_rows

MINE = f"owner_id = {TENANT}"
TAKEN = f"""id IN (
  SELECT sub.feed_id FROM connections_subscription sub WHERE sub.connection_id IN ({MY_CONNECTIONS_BY_SUBSELECT}))"""
OF_MY_FEED = f"feed_id IN (SELECT mine.id FROM signals_feed mine WHERE mine.owner_id = {TENANT})"
ENTITLED = f"""published_at IS NOT NULL AND (
  feed_id IN (
    SELECT sub.feed_id FROM connections_subscription sub
    WHERE sub.archived_at IS NULL AND sub.connection_id IN ({MY_CONNECTIONS_BY_SUBSELECT}))
  OR (feed_id IN (
        SELECT sub.feed_id FROM connections_subscription sub
        WHERE sub.connection_id IN ({MY_CONNECTIONS_BY_SUBSELECT}))
      AND EXISTS (
        SELECT FROM connections_subscription sub
        JOIN connections_subscriptioninterval span ON span.subscription_id = sub.id
        WHERE sub.feed_id = signals_signal.feed_id AND sub.connection_id IN ({MY_CONNECTIONS_BY_SUBSELECT})
          AND span.started_at <= signals_signal.published_at
          AND (span.ended_at IS NULL OR signals_signal.published_at < span.ended_at))))"""


class Migration(migrations.Migration):
    dependencies = [("signals", "0001_initial"), ("connections", "0001_initial")]
    operations = [
        tenant_rows("signals_feed", MINE, read=f"{MINE} OR (is_public AND {SIGNED_IN}) OR {TAKEN}"),
        tenant_rows("signals_feedtoken", OF_MY_FEED),
        tenant_rows("signals_signal", OF_MY_FEED, read=f"{OF_MY_FEED} OR ({ENTITLED})"),
        tenant_rows("signals_receivedalert", OF_MY_FEED),
    ]
