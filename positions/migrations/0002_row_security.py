"""Row-level security: a position belongs to whom its connection belongs to."""

from django.db import migrations

from common.row_security import MY_CONNECTION, tenant_rows


class Migration(migrations.Migration):
    dependencies = [
        ("positions", "0001_initial"),
        ("connections", "0001_initial"),
        ("common", "0001_roles"),
    ]
    operations = [tenant_rows("positions_executionposition", MY_CONNECTION)]
