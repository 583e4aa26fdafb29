"""Feeds and signals of a tenant are asked of functions (connections 0029, ADR 0061).

Why each function returns what the sub-select returned under the tenant's own policies, T being the
current tenant:

- my_feeds: "owner is T"; the reading policy of feeds allows that and more.
- seen_feeds: the reading policy of feeds, word for word: "owner is T", or public and a user is
  signed in, or taken by one of my connections.
- my_bots: bots of my feeds; the policy of bots is the same.
"""

from django.db import migrations

from common.row_security import (
    MY_CONNECTIONS_BY_SUBSELECT,
    SIGNED_IN,
    TENANT,
    replace_condition,
    tenant_set,
)

FUNCTIONS = (
    ("my_feeds", f"SELECT f.id FROM public.signals_feed f WHERE f.owner_id = {TENANT}"),
    (
        "seen_feeds",
        f"SELECT f.id FROM public.signals_feed f WHERE f.owner_id = {TENANT}"
        f" OR (f.is_public AND {SIGNED_IN}) OR f.id IN (SELECT public.fillcast_taken_feeds())",
    ),
    (
        "my_bots",
        "SELECT b.id FROM public.signals_telegrambot b JOIN public.signals_feed f"
        f" ON f.id = b.feed_id WHERE f.owner_id = {TENANT}",
    ),
)

ALL = "SELECT INSERT UPDATE DELETE"
WRITES = "INSERT UPDATE DELETE"
OF_MY_FEED = "feed_id IN (SELECT public.fillcast_my_feeds())"
OF_MY_FEED_WAS = (
    f"feed_id IN (SELECT mine.id FROM signals_feed mine WHERE mine.owner_id = {TENANT})"
)
OF_MY_FEED_TABLES = (  # table, commands; the other ones are for operators only
    ("signals_approvalrequest", ALL),
    ("signals_feedterms", WRITES),
    ("signals_feedtoken", ALL),
    ("signals_incomingalert", "SELECT INSERT"),
    ("signals_receivedalert", ALL),
    ("signals_saveddraft", ALL),
    ("signals_signal", WRITES),
    ("signals_telegrambot", ALL),
    ("signals_telegrammessage", "SELECT"),
)

SEEN_FEED = f"owner_id = {TENANT} OR (is_public AND {SIGNED_IN}) OR id IN ({{}})"
# What was published in a feed that is taken now, or while it was taken.
ENTITLED = """published_at IS NOT NULL AND (
  feed_id IN (SELECT public.fillcast_live_feeds())
  OR EXISTS (SELECT FROM public.fillcast_past_spans() past
             WHERE past.feed_id = signals_signal.feed_id
               AND past.during @> signals_signal.published_at))"""
ENTITLED_WAS = f"""published_at IS NOT NULL AND (
  feed_id IN (
    SELECT sub.feed_id FROM connections_subscription sub
    WHERE sub.archived_at IS NULL AND sub.connection_id IN ({MY_CONNECTIONS_BY_SUBSELECT}))
  OR (feed_id IN (
        SELECT sub.feed_id FROM connections_subscription sub
        WHERE sub.connection_id IN ({MY_CONNECTIONS_BY_SUBSELECT}))
      AND EXISTS (
        SELECT FROM connections_subscription sub
        JOIN connections_subscriptioninterval span ON span.subscription_id = sub.id
        WHERE sub.feed_id = signals_signal.feed_id
          AND sub.connection_id IN ({MY_CONNECTIONS_BY_SUBSELECT})
          AND span.started_at <= signals_signal.published_at
          AND (span.ended_at IS NULL OR signals_signal.published_at < span.ended_at))))"""


class Migration(migrations.Migration):
    dependencies = [
        ("signals", "0025_sealed_results"),
        ("connections", "0029_sets_of_tenants"),
    ]
    operations = [
        *(tenant_set(f"fillcast_{name}", "SETOF bigint", query) for name, query in FUNCTIONS),
        *(
            replace_condition(table, commands, now=OF_MY_FEED, was=OF_MY_FEED_WAS)
            for table, commands in OF_MY_FEED_TABLES
        ),
        replace_condition(
            "signals_feed",
            "SELECT",
            now=SEEN_FEED.format("SELECT public.fillcast_taken_feeds()"),
            was=SEEN_FEED.format(
                "SELECT sub.feed_id FROM connections_subscription sub"
                f" WHERE sub.connection_id IN ({MY_CONNECTIONS_BY_SUBSELECT})"
            ),
        ),
        replace_condition(
            "signals_feedterms",
            "SELECT",
            now="feed_id IN (SELECT public.fillcast_seen_feeds())",
            was="feed_id IN (SELECT seen.id FROM signals_feed seen)",
        ),
        replace_condition(
            "signals_signal",
            "SELECT",
            now=f"{OF_MY_FEED} OR ({ENTITLED})",
            was=f"{OF_MY_FEED_WAS} OR ({ENTITLED_WAS})",
        ),
        replace_condition(
            "signals_telegramchat",
            ALL,
            now="bot_id IN (SELECT public.fillcast_my_bots())",
            was="bot_id IN (SELECT mine.id FROM signals_telegrambot mine"
            f" JOIN signals_feed feed ON feed.id = mine.feed_id WHERE feed.owner_id = {TENANT})",
        ),
    ]
