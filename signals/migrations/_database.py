"""What the models of `signals` do not say: who reaches which rows, approval, the records.

A policy asks functions which feeds are a tenant's, T being the current tenant (ADR 0061):

- my_feeds: "owner is T".
- seen_feeds, word for word the reading policy of feeds: "owner is T", or public and a user is
  signed in, or taken by one of my connections.
- taken_feeds, live_feeds: those with a subscription of one of my connections ("user or admin is T");
  live: one that is not archived.
- past_spans: when I took the feeds that I no longer take. The policy of signals shows all that is
  published in the others. Spans are merged to one multirange a feed: a moment lies in it exactly if
  it lies in one of them, from the start, which is included, to the end, which is not. A span that
  ends before it starts holds no moment, and could not be written as a range.

Without a tenant T is NULL, no comparison with it is true, and all of them are empty. Those that read
the tables of `connections` are made before these tables: PL/pgSQL looks at them when it is called.
"""

from django.db import migrations

from common.db.migration_sql import run_file
from common.db.row_security import SIGNED_IN, TENANT, append_only, tenant_rows, tenant_set
from signals.records.sql import install, install_results

OWN = f"(c.user_id = {TENANT} OR c.admin_id = {TENANT})"
SUBSCRIPTIONS = (
    "public.connections_subscription s"
    " JOIN public.connections_executionconnection c ON c.id = s.connection_id"
)
PAST_SPANS = f"""
SELECT s.feed_id, range_agg(tstzrange(span.started_at, span.ended_at, '[)'))
FROM {SUBSCRIPTIONS}
JOIN public.connections_subscriptioninterval span ON span.subscription_id = s.id
WHERE {OWN} AND s.archived_at IS NOT NULL
  AND (span.ended_at IS NULL OR span.started_at < span.ended_at)
  AND s.feed_id NOT IN (SELECT public.fillcast_live_feeds())
GROUP BY 1"""
FUNCTIONS = (
    ("my_feeds", f"SELECT f.id FROM public.signals_feed f WHERE f.owner_id = {TENANT}"),
    ("taken_feeds", f"SELECT DISTINCT s.feed_id FROM {SUBSCRIPTIONS} WHERE {OWN}"),
    (
        "seen_feeds",
        f"SELECT f.id FROM public.signals_feed f WHERE f.owner_id = {TENANT}"
        f" OR (f.is_public AND {SIGNED_IN}) OR f.id IN (SELECT public.fillcast_taken_feeds())",
    ),
    (
        "live_feeds",
        f"SELECT DISTINCT s.feed_id FROM {SUBSCRIPTIONS} WHERE s.archived_at IS NULL AND {OWN}",
    ),
)
OF_MY_FEED = "feed_id IN (SELECT public.fillcast_my_feeds())"
# What was published in a feed that is taken now, or while it was taken.
ENTITLED = """published_at IS NOT NULL AND (
  feed_id IN (SELECT public.fillcast_live_feeds())
  OR EXISTS (SELECT FROM public.fillcast_past_spans() past
             WHERE past.feed_id = signals_signal.feed_id
               AND past.during @> signals_signal.published_at))"""

# Django's CheckConstraint cannot compare with all elements of an array.
ENTRY = "CASE order_type WHEN 'STOP' THEN stop_price ELSE open_price END"
LEVELS_ON_THE_RIGHT_SIDE = f"""
ALTER TABLE signals_signal ADD CONSTRAINT levels_on_the_right_side CHECK (
  action <> 'OPEN' OR CASE direction
    WHEN 'BUY' THEN (sl IS NULL OR coalesce(sl < ({ENTRY}), true))
      AND coalesce(({ENTRY}) < ALL (target_prices), true) AND coalesce(sl < ALL (target_prices), true)
    WHEN 'SELL' THEN (sl IS NULL OR coalesce(sl > ({ENTRY}), true))
      AND coalesce(({ENTRY}) > ALL (target_prices), true) AND coalesce(sl > ALL (target_prices), true)
  END),
  ADD CONSTRAINT targets_have_fractions CHECK (
    cardinality(target_prices) = cardinality(target_fractions)
    AND 0 < ALL (target_fractions) AND 1 >= ALL (target_fractions) AND 0 < ALL (target_prices))
"""

OPERATIONS = [
    *(tenant_set(f"fillcast_{name}", "SETOF bigint", query) for name, query in FUNCTIONS),
    tenant_set("fillcast_past_spans", "TABLE (feed_id bigint, during tstzmultirange)", PAST_SPANS),
    tenant_rows(
        "signals_feed",
        f"owner_id = {TENANT}",
        read=f"owner_id = {TENANT} OR (is_public AND {SIGNED_IN})"
        " OR id IN (SELECT public.fillcast_taken_feeds())",
    ),
    tenant_rows("signals_feedtoken", OF_MY_FEED),
    tenant_rows(
        "signals_feedterms", OF_MY_FEED, read="feed_id IN (SELECT public.fillcast_seen_feeds())"
    ),
    append_only("signals_feedterms"),
    tenant_rows("signals_signal", OF_MY_FEED, read=f"{OF_MY_FEED} OR ({ENTITLED})"),
    tenant_rows("signals_saveddraft", OF_MY_FEED),
    tenant_rows("signals_approvalrequest", OF_MY_FEED),
    tenant_rows("signals_receivedalert", OF_MY_FEED),
    migrations.RunSQL(LEVELS_ON_THE_RIGHT_SIDE),
    run_file(__file__, "approval.sql"),
    *install(),
    install_results(),
]
