"""What those see of a record who do not take the feed: its figures as of 24 hours before.

The stored records have none: empty ones. The next run of the hourly job computes them. Processes
of the earlier version, which do not know of them, can still store records.
"""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("analytics", "0009_sets_of_tenants")]

    operations = [
        migrations.AddField(
            model_name="feedrecord",
            name="delayed",
            field=models.JSONField(
                db_default={},
                default=dict,
                help_text="The same as of 24 hours before, for those who do not take the feed;"
                " empty: not computed.",
            ),
        ),
    ]
