"""OCO pairs: two entries of which each account sends at most one (docs/adr/0027)."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("connections", "0015_routes"),
        ("execution", "0013_entry_changes"),
        ("positions", "0004_growing_positions"),
        ("signals", "0011_oco_pairs"),
    ]

    operations = [
        migrations.AddField(
            model_name="order",
            name="oco_fired",
            field=models.BooleanField(
                db_default=False, default=False, help_text="It is the leg whose trigger has fired."
            ),
        ),
        migrations.AddField(
            model_name="order",
            name="oco_group",
            field=models.UUIDField(
                blank=True,
                help_text="Its signal's: of an account's legs one is ever sent.",
                null=True,
            ),
        ),
        migrations.AddConstraint(
            model_name="order",
            constraint=models.UniqueConstraint(
                condition=models.Q(("oco_fired", True)),
                fields=("connection", "oco_group"),
                name="one_oco_leg_fires",
            ),
        ),
        migrations.AddConstraint(
            model_name="order",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("oco_fired", False), ("oco_group__isnull", True)),
                    models.Q(
                        ("leg", "entry"),
                        ("oco_group__isnull", False),
                        models.Q(
                            ("oco_fired", True),
                            (
                                "status__in",
                                ("PENDING", "SKIPPED", "DENIED", "CANCELLED", "EXPIRED", "FAILED"),
                            ),
                            _connector="OR",
                        ),
                    ),
                    _connector="OR",
                ),
                name="sent_oco_leg_has_fired",
            ),
        ),
    ]
