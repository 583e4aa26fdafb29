"""Row-level security: a day's results belong to whom the connection belongs to."""

from django.db import migrations

from common.row_security import MY_CONNECTION, tenant_rows


class Migration(migrations.Migration):
    dependencies = [
        ("analytics", "0002_exact_durations"),
        ("connections", "0001_initial"),
        ("common", "0001_roles"),
    ]
    operations = [tenant_rows("analytics_analyticsdaily", MY_CONNECTION, write="false")]
