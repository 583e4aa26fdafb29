"""What belongs to a tenant is asked of functions: policies are planned in microseconds.

Each policy that looked into another table with policies had those expanded and planned with every
statement (ADR 0061). The functions read as the owner of the tables. Why each returns what the
sub-select returned under the tenant's own policies, T being the current tenant:

- my_connections: "user or admin is T" is the reading policy of the table, word for word.
- my_subscriptions, taken_feeds, live_feeds: the policy of subscriptions is "of my connections"; the
  join repeats it.
- past_spans: the policy of intervals is "of my subscriptions", reached by the same join. Only feeds
  without a live subscription: the policy of signals shows all that is published in the others. Spans
  are merged to one multirange a feed: a moment lies in it exactly if it lies in one of them (from
  the start, which is included, to the end, which is not). A span that ends before it starts holds
  no moment, and could not be written as a range.
- my_broker_types: the types of my connections.
- my_presets, my_calendars: "user is T"; the reading policies of these tables allow that and more.
- seen_presets, seen_calendars, seen_sources: the reading policies of these tables, word for word:
  "user is T", or no user (the operators', for all) and a user is signed in.

Without a tenant T is NULL, no comparison with it is true, and all of them are empty.
"""

from django.db import migrations

from common.row_security import (
    MINE,
    MY_CONNECTION,
    MY_CONNECTION_BY_SUBSELECT,
    MY_CONNECTIONS,
    MY_CONNECTIONS_BY_SUBSELECT,
    SIGNED_IN,
    TENANT,
    replace_condition,
    tenant_set,
)

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
SEEN = f"own.user_id = {TENANT} OR (own.user_id IS NULL AND {SIGNED_IN})"
FUNCTIONS = (
    (
        "my_connections",
        "SETOF uuid",
        f"SELECT c.id FROM public.connections_executionconnection c WHERE {OWN}",
    ),
    (
        "my_broker_types",
        "SETOF varchar",
        f"SELECT DISTINCT c.type FROM public.connections_executionconnection c WHERE {OWN}",
    ),
    ("my_subscriptions", "SETOF bigint", f"SELECT s.id FROM {SUBSCRIPTIONS} WHERE {OWN}"),
    ("taken_feeds", "SETOF bigint", f"SELECT DISTINCT s.feed_id FROM {SUBSCRIPTIONS} WHERE {OWN}"),
    (
        "live_feeds",
        "SETOF bigint",
        f"SELECT DISTINCT s.feed_id FROM {SUBSCRIPTIONS} WHERE s.archived_at IS NULL AND {OWN}",
    ),
    ("past_spans", "TABLE (feed_id bigint, during tstzmultirange)", PAST_SPANS),
    *(
        (name, "SETOF bigint", f"SELECT own.id FROM public.{table} own WHERE {condition}")
        for name, table, condition in (
            ("my_presets", "connections_tradingpreset", f"own.user_id = {TENANT}"),
            ("seen_presets", "connections_tradingpreset", SEEN),
            ("my_calendars", "connections_newscalendar", f"own.user_id = {TENANT}"),
            ("seen_calendars", "connections_newscalendar", SEEN),
            ("seen_sources", "connections_dataconnection", SEEN),
        )
    ),
)

ALL = "SELECT INSERT UPDATE DELETE"
WRITES = "INSERT UPDATE DELETE"
OF_MY_CONNECTION = (  # table, commands; the other ones are for operators only
    ("connections_accounthistory", "SELECT"),
    ("connections_accountsnapshot", "SELECT"),
    ("connections_cashflow", "SELECT INSERT"),
    ("connections_cashflowread", "SELECT"),
    ("connections_connectionhealth", "SELECT DELETE"),
    ("connections_connectionlock", ALL),
    ("connections_fundingpayment", "SELECT"),
    ("connections_subscription", ALL),
    ("connections_tradingpause", "SELECT UPDATE DELETE"),
)

MY_SUBSCRIPTION = "subscription_id IN (SELECT public.fillcast_my_subscriptions())"
MY_SUBSCRIPTION_WAS = (
    "subscription_id IN (SELECT own.id FROM connections_subscription own"
    f" WHERE own.connection_id IN ({MY_CONNECTIONS_BY_SUBSELECT}))"
)
BY_RIGHT = (
    "(SELECT public.fillcast_actor_may('manage_connections'))"
    " OR (SELECT public.fillcast_actor_may('replace_credentials'))"
)
BY_MINE = f"{MINE} AND (broker_connection_id IS NULL OR broker_connection_id IN ({{}}))"
MY_PRESET_WAS = f"preset_id IN (SELECT own.id FROM connections_tradingpreset own WHERE own.{MINE})"
MY_CALENDAR_WAS = (
    f"calendar_id IN (SELECT own.id FROM connections_newscalendar own WHERE own.{MINE})"
)
MY_LIMIT_WAS = f"{MY_PRESET_WAS} OR {MY_SUBSCRIPTION_WAS}"


class Migration(migrations.Migration):
    dependencies = [("connections", "0028_due_connection_tests")]
    operations = [
        *(tenant_set(f"fillcast_{name}", returns, query) for name, returns, query in FUNCTIONS),
        *(
            replace_condition(table, commands, now=MY_CONNECTION, was=MY_CONNECTION_BY_SUBSELECT)
            for table, commands in OF_MY_CONNECTION
        ),
        replace_condition(
            "connections_connectionhealth",
            "INSERT UPDATE",
            now=f"{MY_CONNECTION} OR ({BY_RIGHT})",
            was=f"{MY_CONNECTION_BY_SUBSELECT} OR ({BY_RIGHT})",
            operators=False,
        ),
        replace_condition(
            "connections_dataconnection",
            WRITES,
            now=BY_MINE.format(MY_CONNECTIONS),
            was=BY_MINE.format(MY_CONNECTIONS_BY_SUBSELECT),
        ),
        replace_condition(
            "connections_sourcehealth",
            "SELECT",
            now="source_id IN (SELECT public.fillcast_seen_sources())",
            was="source_id IN (SELECT seen.id FROM connections_dataconnection seen)",
        ),
        replace_condition(
            "connections_subscriptioninterval",
            ALL,
            now=MY_SUBSCRIPTION,
            was="subscription_id IN (SELECT mine.id FROM connections_subscription mine"
            f" WHERE mine.connection_id IN ({MY_CONNECTIONS_BY_SUBSELECT}))",
        ),
        *(
            replace_condition(
                table,
                ALL,
                now=f"{MY_SUBSCRIPTION} AND {MY_CONNECTION}",
                was=f"{MY_SUBSCRIPTION_WAS} AND {MY_CONNECTION_BY_SUBSELECT}",
            )
            for table in ("connections_subscriptionroute", "connections_subscriptiontwin")
        ),
        replace_condition(
            "connections_losslimit",
            WRITES,
            now=f"preset_id IN (SELECT public.fillcast_my_presets()) OR {MY_SUBSCRIPTION}",
            was=MY_LIMIT_WAS,
        ),
        replace_condition(
            "connections_losslimit",
            "SELECT",
            now=f"preset_id IN (SELECT public.fillcast_seen_presets()) OR {MY_SUBSCRIPTION}",
            was=f"{MY_LIMIT_WAS}"
            " OR preset_id IN (SELECT seen.id FROM connections_tradingpreset seen)",
        ),
        replace_condition(
            "connections_newsevent",
            WRITES,
            now="calendar_id IN (SELECT public.fillcast_my_calendars())",
            was=MY_CALENDAR_WAS,
        ),
        replace_condition(
            "connections_newsevent",
            "SELECT",
            now="calendar_id IN (SELECT public.fillcast_seen_calendars())",
            was=f"{MY_CALENDAR_WAS}"
            " OR calendar_id IN (SELECT seen.id FROM connections_newscalendar seen)",
        ),
    ]
