"""The second factor: a sealed secret and recovery codes, for each user their own."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

from common.row_security import MINE, tenant_rows


class Migration(migrations.Migration):
    dependencies = [("users", "0007_guards")]

    operations = [
        migrations.CreateModel(
            name="SecondFactor",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "user",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="second_factor",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                ("sealed_secret", models.BinaryField()),
                (
                    "last_step",
                    models.BigIntegerField(help_text="The time step whose code was used last."),
                ),
                ("enrolled_at", models.DateTimeField(auto_now_add=True)),
            ],
            options={"default_permissions": ()},
        ),
        migrations.CreateModel(
            name="RecoveryCode",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("code_hash", models.CharField(max_length=64)),
                ("used_at", models.DateTimeField(blank=True, null=True)),
                (
                    "user",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="recovery_codes",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "default_permissions": (),
                "constraints": [
                    models.UniqueConstraint(
                        fields=("user", "code_hash"), name="one_recovery_code"
                    )
                ],
            },
        ),
        # Read before anybody is signed in: hidden, it would look as if there were none.
        tenant_rows("users_secondfactor", MINE, read="true"),
        tenant_rows("users_recoverycode", MINE),
    ]
