"""Whether the audit trail is known to be broken. The web role reads it and cannot end the alarm."""

from django.db import migrations, models

from common.row_security import WEB, operator_rows


class Migration(migrations.Migration):
    dependencies = [("users", "0009_key_scopes"), ("common", "0001_roles")]
    operations = [
        migrations.CreateModel(
            name="TrailStatus",
            fields=[
                ("id", models.SmallIntegerField(default=1, primary_key=True, serialize=False)),
                ("broken_at", models.DateTimeField(null=True)),
                ("findings", models.TextField(blank=True, db_default="", default="")),
            ],
            options={
                "default_permissions": (),
                "constraints": [
                    models.CheckConstraint(condition=models.Q(id=1), name="one_trail_status")
                ],
            },
        ),
        operator_rows("users_trailstatus"),
        migrations.RunSQL(
            f"REVOKE INSERT, UPDATE, DELETE, TRUNCATE ON users_trailstatus FROM {WEB}",
            f"GRANT INSERT, UPDATE, DELETE ON users_trailstatus TO {WEB}",
        ),
    ]
