"""The few connections that are in a lane, found at once. After the rows were written: a migration
that changes rows leaves triggers pending, and no index can be made beside those."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("connections", "0010_lanes"),
    ]

    operations = [
        migrations.AddIndex(
            model_name="executionconnection",
            index=models.Index(
                condition=models.Q(("lane", ""), _negated=True),
                fields=["lane"],
                name="connection_of_lane",
            ),
        ),
    ]
