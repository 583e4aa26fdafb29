"""Row-level security of orders and what became of them; the log is append-only for everybody."""

from django.db import migrations

from common.row_security import MY_CONNECTION, append_only, operator_rows, tenant_rows


class Migration(migrations.Migration):
    dependencies = [
        ("execution", "0001_initial"),
        ("connections", "0001_initial"),
        ("common", "0001_roles"),
    ]
    operations = [
        tenant_rows("execution_order", MY_CONNECTION),
        tenant_rows("execution_fill", MY_CONNECTION, write="false"),
        tenant_rows("execution_executionlog", MY_CONNECTION, write="false", add=MY_CONNECTION),
        append_only("execution_executionlog"),
        tenant_rows("execution_driftitem", MY_CONNECTION),
        operator_rows("execution_workerlease"),
    ]
