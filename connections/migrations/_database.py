"""What the models of `connections` do not say: who reaches which rows, guards.

A policy asks functions what is a tenant's, T being the current tenant (ADR 0061): the first three
follow from "user or admin of the account is T"; my_presets and my_calendars from "user is T";
seen_presets, seen_calendars and seen_sources are the reading policies of these tables, word for
word: "user is T", or no user (the operators', for all) and a user is signed in. Without a tenant T is
NULL, no comparison with it is true, and all of them are empty.
"""

from django.db import migrations

from common.db.migration_sql import run_file
from common.db.row_security import (
    MINE,
    MY_CONNECTION,
    SIGNED_IN,
    TENANT,
    TRADE,
    operator_rows,
    replace_condition,
    shared_rows,
    tenant_rows,
    tenant_set,
)

OWN = f"(c.user_id = {TENANT} OR c.admin_id = {TENANT})"
ACCOUNTS = "public.connections_executionconnection c"
SEEN = f"own.user_id = {TENANT} OR (own.user_id IS NULL AND {SIGNED_IN})"
FUNCTIONS = (
    ("my_connections", "SETOF uuid", f"SELECT c.id FROM {ACCOUNTS} WHERE {OWN}"),
    ("my_broker_types", "SETOF varchar", f"SELECT DISTINCT c.type FROM {ACCOUNTS} WHERE {OWN}"),
    (
        "my_subscriptions",
        "SETOF bigint",
        f"SELECT s.id FROM public.connections_subscription s JOIN {ACCOUNTS}"
        f" ON c.id = s.connection_id WHERE {OWN}",
    ),
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
OF_MY_SUBSCRIPTION = "subscription_id IN (SELECT public.fillcast_my_subscriptions())"
# A preset or price source without an owner is the operators', for everybody's use.
MINE_OR_FOR_ALL = f"{MINE} OR (user_id IS NULL AND {SIGNED_IN})"
BY_MINE = f"{MINE} AND (broker_connection_id IS NULL OR broker_{MY_CONNECTION})"
HALTS_ME = (
    f"(scope IN ('ALL', 'SYMBOL') AND {SIGNED_IN}) OR {MINE} OR {MY_CONNECTION}"
    " OR broker_type IN (SELECT public.fillcast_my_broker_types())"
    " OR feed_id IN (SELECT public.fillcast_seen_feeds())"
)
# A tenant does not release what an operator set.
I_HALT = (
    f"set_by_id = {TENANT} AND ({MINE} OR {MY_CONNECTION}"
    " OR feed_id IN (SELECT public.fillcast_my_feeds()))"
)
# Health is not written by the setting `fillcast.operator`, which opens rows for publications: by the
# right.
HEALTH_IS_WRITTEN = (
    f"{MY_CONNECTION} OR ((SELECT public.fillcast_actor_may('manage_connections'))"
    " OR (SELECT public.fillcast_actor_may('replace_credentials')))"
)
MY_LIMIT = f"preset_id IN (SELECT public.fillcast_my_presets()) OR {OF_MY_SUBSCRIPTION}"
SEEN_LIMIT = f"preset_id IN (SELECT public.fillcast_seen_presets()) OR {OF_MY_SUBSCRIPTION}"

OPERATIONS = [
    *(tenant_set(f"fillcast_{name}", returns, query) for name, returns, query in FUNCTIONS),
    tenant_rows(
        "connections_executionconnection", MINE, read=f"{MINE} OR admin_id = {TENANT}"
    ),
    tenant_rows("connections_connectionhealth", MY_CONNECTION),
    replace_condition(
        "connections_connectionhealth",
        "INSERT UPDATE",
        now=HEALTH_IS_WRITTEN,
        was=MY_CONNECTION,
        operators=False,
    ),
    tenant_rows("connections_connectionlock", MY_CONNECTION),
    *(
        tenant_rows(table, MY_CONNECTION, write="false")
        for table in (
            "connections_accountsnapshot", "connections_accounthistory",
            "connections_cashflowread", "connections_fundingpayment",
        )
    ),
    tenant_rows("connections_cashflow", MY_CONNECTION, write="false", add=MY_CONNECTION),
    tenant_rows("connections_tradingpause", MY_CONNECTION, add="false"),
    tenant_rows("connections_subscription", MY_CONNECTION),
    tenant_rows("connections_subscriptioninterval", OF_MY_SUBSCRIPTION),
    tenant_rows("connections_subscriptionroute", f"{OF_MY_SUBSCRIPTION} AND {MY_CONNECTION}"),
    tenant_rows("connections_subscriptiontwin", f"{OF_MY_SUBSCRIPTION} AND {MY_CONNECTION}"),
    tenant_rows("connections_tradingpreset", MINE, read=MINE_OR_FOR_ALL),
    tenant_rows("connections_losslimit", MY_LIMIT, read=SEEN_LIMIT),
    tenant_rows("connections_decisionprovider", MINE, read=MINE_OR_FOR_ALL),
    tenant_rows("connections_newscalendar", MINE, read=MINE_OR_FOR_ALL),
    tenant_rows(
        "connections_newsevent",
        "calendar_id IN (SELECT public.fillcast_my_calendars())",
        read="calendar_id IN (SELECT public.fillcast_seen_calendars())",
    ),
    tenant_rows("connections_dataconnection", BY_MINE, read=MINE_OR_FOR_ALL),
    tenant_rows(
        "connections_sourcehealth",
        "false",
        read="source_id IN (SELECT public.fillcast_seen_sources())",
    ),
    tenant_rows("connections_killswitch", I_HALT, read=HALTS_ME),
    operator_rows("connections_epoch"),
    operator_rows("connections_hostcircuit"),
    *(
        shared_rows(table)
        for table in (
            "connections_maintenancewindow", "connections_instrument",
            "connections_instrumentbook", "connections_lanelease",
        )
    ),
    shared_rows("connections_laneassignment", add=True),
    run_file(__file__, "guards.sql"),
    # Drawn from again and again and kept outside too: a restored database shows by being behind.
    migrations.RunSQL(
        "CREATE SEQUENCE fillcast_mark;"
        f" GRANT USAGE, SELECT, UPDATE ON SEQUENCE fillcast_mark TO {TRADE}"
    ),
]  # fmt: skip
