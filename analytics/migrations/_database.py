"""What the models of `analytics` do not say: who reaches which rows, the sealing of results."""

from django.db import migrations

from common.db.row_security import MY_CONNECTION, SIGNED_IN, operator_rows, tenant_rows

OPERATIONS = [
    tenant_rows("analytics_analyticsdaily", MY_CONNECTION, write="false"),
    tenant_rows("analytics_tradecost", MY_CONNECTION, write="false"),
    # Of few persons a figure would show what one of them did.
    tenant_rows("analytics_signalquality", "false", read=f"persons > 5 AND {SIGNED_IN}"),
    tenant_rows("analytics_preflight", MY_CONNECTION),
    operator_rows("analytics_feedtrade"),
    operator_rows("analytics_feedrecord"),
    operator_rows("analytics_executionday"),
    migrations.RunSQL(
        "CREATE TRIGGER record_result AFTER INSERT OR UPDATE ON analytics_feedtrade FOR EACH ROW"
        " WHEN (NEW.is_final) EXECUTE FUNCTION public.signals_add_record_result()"
    ),
]
