"""What the models of `positions` do not say: who reaches which rows, an index, due stop rules."""

from common.db.migration_sql import run_file
from common.db.row_security import MY_CONNECTION, TENANT, tenant_function, tenant_rows

OF_MY_POSITION = "public.fillcast_is_my_position(position_id)"
# A tenant may have had 100,000 positions, of which a page shows fifty. So whose position a rule is of
# is asked for each rule, not of a set of all positions.
IS_MY_POSITION = f"""RETURN EXISTS (
  SELECT FROM public.positions_executionposition p
  JOIN public.connections_executionconnection c ON c.id = p.connection_id
  WHERE p.id = wanted AND (c.user_id = {TENANT} OR c.admin_id = {TENANT}))"""

OPERATIONS = [
    tenant_function("fillcast_is_my_position(wanted bigint)", "boolean", IS_MY_POSITION),
    tenant_rows("positions_executionposition", MY_CONNECTION),
    tenant_rows("positions_stoprule", OF_MY_POSITION),
    run_file(__file__, "positions.sql"),
]
