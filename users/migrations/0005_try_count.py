"""Our own counts of wrong tries take the place of django-axes' tables."""

from django.db import migrations, models

from common.row_security import shared_rows

OF_AXES = "axes_accessattemptexpiration, axes_accessattempt, axes_accessfailurelog, axes_accesslog"


class Migration(migrations.Migration):
    dependencies = [("users", "0004_roles")]

    operations = [
        migrations.CreateModel(
            name="TryCount",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("scope", models.CharField(max_length=40)),
                ("digest", models.CharField(max_length=64)),
                ("tries", models.PositiveIntegerField()),
                ("ends_at", models.DateTimeField(db_index=True)),
            ],
            options={
                "default_permissions": (),
                "constraints": [
                    models.UniqueConstraint(
                        fields=("scope", "digest"), name="one_count_of_a_key"
                    )
                ],
            },
        ),
        shared_rows("users_trycount", writable=True),  # counted before anybody is known
        migrations.RunSQL(f"DROP TABLE IF EXISTS {OF_AXES}", migrations.RunSQL.noop),
    ]
