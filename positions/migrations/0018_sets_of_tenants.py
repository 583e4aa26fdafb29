"""Whose position it is is asked of functions (connections 0029, ADR 0061).

A tenant may have had 100,000 positions, of which a page shows fifty. So whose position a rule is of
is asked for each rule, not of a set of all positions. is_my_position: the policy of positions is "of
my connections"; the join repeats it. It says no more than whether that position is the caller's.
"""

from django.db import migrations

from common.row_security import (
    MY_CONNECTION,
    MY_CONNECTION_BY_SUBSELECT,
    TENANT,
    replace_condition,
    tenant_function,
)

ALL = "SELECT INSERT UPDATE DELETE"
IS_MY_POSITION = f"""RETURN EXISTS (
  SELECT FROM public.positions_executionposition p
  JOIN public.connections_executionconnection c ON c.id = p.connection_id
  WHERE p.id = wanted AND (c.user_id = {TENANT} OR c.admin_id = {TENANT}))"""


class Migration(migrations.Migration):
    dependencies = [("positions", "0017_funding"), ("connections", "0029_sets_of_tenants")]
    operations = [
        tenant_function("fillcast_is_my_position(wanted bigint)", "boolean", IS_MY_POSITION),
        replace_condition(
            "positions_executionposition", ALL, now=MY_CONNECTION, was=MY_CONNECTION_BY_SUBSELECT
        ),
        replace_condition(
            "positions_stoprule",
            ALL,
            now="public.fillcast_is_my_position(position_id)",
            was="position_id IN (SELECT id FROM positions_executionposition"
            f" WHERE {MY_CONNECTION_BY_SUBSELECT})",
        ),
    ]
