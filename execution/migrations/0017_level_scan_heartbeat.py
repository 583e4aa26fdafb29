"""When all levels were last scanned, and whether the scheduler asked for it."""

from django.db import migrations, models

from common.row_security import shared_rows


class Migration(migrations.Migration):
    dependencies = [("execution", "0016_raw_answers")]
    operations = [
        migrations.CreateModel(
            name="LevelScanHeartbeat",
            fields=[
                ("id", models.SmallIntegerField(default=1, primary_key=True, serialize=False)),
                ("scanned_at", models.DateTimeField(null=True)),
                ("scheduled_at", models.DateTimeField(null=True)),
                ("alerted_at", models.DateTimeField(null=True)),
            ],
            options={
                "constraints": [
                    models.CheckConstraint(condition=models.Q(id=1), name="one_heartbeat")
                ],
            },
        ),
        shared_rows("execution_levelscanheartbeat"),
        migrations.RunSQL(
            "INSERT INTO execution_levelscanheartbeat (id) VALUES (1)", migrations.RunSQL.noop
        ),
    ]
