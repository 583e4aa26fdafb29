"""Who sees and sets a kill switch is asked of functions (0029, ADR 0061).

Separate from 0029: functions of the app `signals` return which feeds a tenant owns and sees.
"""

from django.db import migrations

from common.row_security import (
    MINE,
    MY_CONNECTION,
    MY_CONNECTION_BY_SUBSELECT,
    MY_CONNECTIONS_BY_SUBSELECT,
    SIGNED_IN,
    TENANT,
    replace_condition,
)

HALTS_ME = f"(scope IN ('ALL', 'SYMBOL') AND {SIGNED_IN}) OR {MINE}"
# A tenant does not release what an operator set.
I_HALT = f"set_by_id = {TENANT} AND ({MINE} OR {{}})"


class Migration(migrations.Migration):
    dependencies = [
        ("connections", "0029_sets_of_tenants"),
        ("signals", "0026_sets_of_tenants"),
    ]
    operations = [
        replace_condition(
            "connections_killswitch",
            "SELECT",
            now=f"{HALTS_ME} OR {MY_CONNECTION}"
            " OR broker_type IN (SELECT public.fillcast_my_broker_types())"
            " OR feed_id IN (SELECT public.fillcast_seen_feeds())",
            was=f"{HALTS_ME} OR {MY_CONNECTION_BY_SUBSELECT}"
            " OR broker_type IN (SELECT mine.type FROM connections_executionconnection mine"
            f" WHERE mine.id IN ({MY_CONNECTIONS_BY_SUBSELECT}))"
            " OR feed_id IN (SELECT seen.id FROM signals_feed seen)",
        ),
        replace_condition(
            "connections_killswitch",
            "INSERT UPDATE DELETE",
            now=I_HALT.format(f"{MY_CONNECTION} OR feed_id IN (SELECT public.fillcast_my_feeds())"),
            was=I_HALT.format(
                f"{MY_CONNECTION_BY_SUBSELECT} OR feed_id IN"
                f" (SELECT mine.id FROM signals_feed mine WHERE mine.owner_id = {TENANT})"
            ),
        ),
    ]
