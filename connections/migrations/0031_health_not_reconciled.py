"""An index of the accounts that wait for their first comparison: three processes look for them."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("connections", "0030_kill_switch_sets")]

    operations = [
        migrations.AddIndex(
            model_name="connectionhealth",
            index=models.Index(
                condition=models.Q(("reconciled_at", None), ("status", "ACTIVE")),
                fields=["connection"],
                name="health_not_reconciled",
            ),
        ),
    ]
