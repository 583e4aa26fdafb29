"""Stop-limit orders, and orders good till a date."""

from django.conf import settings
from django.db import migrations, models

import common.fields


class Migration(migrations.Migration):
    dependencies = [
        ("signals", "0002_row_security"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name="signal",
            name="limit_has_price",
        ),
        migrations.RemoveConstraint(
            model_name="signal",
            name="stop_has_price",
        ),
        migrations.AlterField(
            model_name="signal",
            name="order_type",
            field=models.CharField(
                choices=[
                    ("MARKET", "Market"),
                    ("LIMIT", "Limit"),
                    ("STOP", "Stop"),
                    ("STOP_LIMIT", "Stop limit"),
                ],
                default="MARKET",
                max_length=16,
            ),
        ),
        migrations.AlterField(
            model_name="signal",
            name="stop_price",
            field=common.fields.AmountField(
                blank=True, help_text="Trigger of a stop or stop-limit order.", null=True
            ),
        ),
        migrations.AlterField(
            model_name="signal",
            name="time_in_force",
            field=models.CharField(
                choices=[
                    ("GTC", "Good till cancelled"),
                    ("GTD", "Good till date"),
                    ("DAY", "Day"),
                    ("IOC", "Immediate or cancel"),
                    ("FOK", "Fill or kill"),
                ],
                default="GTC",
                max_length=3,
            ),
        ),
        migrations.AddConstraint(
            model_name="signal",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("order_type__in", ("LIMIT", "STOP_LIMIT")), _negated=True),
                    ("open_price__isnull", False),
                    _connector="OR",
                ),
                name="limit_has_price",
            ),
        ),
        migrations.AddConstraint(
            model_name="signal",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("order_type__in", ("STOP", "STOP_LIMIT")), _negated=True),
                    ("stop_price__isnull", False),
                    _connector="OR",
                ),
                name="stop_has_price",
            ),
        ),
        migrations.AddConstraint(
            model_name="signal",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("order_type", "STOP_LIMIT"), _negated=True),
                    ("sl__isnull", True),
                    models.Q(("direction", "BUY"), ("sl__lt", models.F("stop_price"))),
                    models.Q(("direction", "SELL"), ("sl__gt", models.F("stop_price"))),
                    _connector="OR",
                ),
                name="sl_behind_trigger",
            ),
        ),
        migrations.AddConstraint(
            model_name="signal",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("time_in_force", "GTD"), _negated=True),
                    ("valid_until__isnull", False),
                    _connector="OR",
                ),
                name="gtd_has_end",
            ),
        ),
    ]
