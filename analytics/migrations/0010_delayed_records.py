"""What those see of a record who do not take the feed: its figures as of 24 hours before.

The stored records have none, so they go; the next run of the hourly job computes all of them again.
"""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("analytics", "0009_sets_of_tenants")]

    operations = [
        migrations.RunSQL("DELETE FROM analytics_feedrecord", migrations.RunSQL.noop),
        migrations.AddField(
            model_name="feedrecord",
            name="delayed",
            field=models.JSONField(
                default=dict,
                help_text="The same as of 24 hours before, for those who do not take the feed.",
            ),
            preserve_default=False,
        ),
    ]
