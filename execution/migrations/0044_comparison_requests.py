"""An index of the requested comparisons: three processes look for them every other second."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("execution", "0043_archived_orders")]

    operations = [
        migrations.AddIndex(
            model_name="accountsyncstate",
            index=models.Index(
                condition=models.Q(("reconcile_requested_at__isnull", False)),
                fields=["reconcile_requested_at"],
                name="comparison_requests",
            ),
        ),
    ]
