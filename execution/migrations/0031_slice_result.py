"""What the market did while an entry in slices ran, stored when it has ended."""

from django.db import migrations, models

import common.fields


class Migration(migrations.Migration):
    dependencies = [
        ("execution", "0030_expire_pending_action"),
    ]

    operations = [
        migrations.AddField(
            model_name="sliceplan",
            name="market_average",
            field=common.fields.AmountField(
                help_text="The market's mid price until `market_until`, weighted by time.",
                null=True,
            ),
        ),
        migrations.AddField(
            model_name="sliceplan",
            name="market_vwap",
            field=common.fields.AmountField(
                help_text="The same, weighted by the number of quotes.", null=True
            ),
        ),
        migrations.AddField(
            model_name="sliceplan",
            name="market_minutes",
            field=models.IntegerField(
                help_text="How many minutes of that time had prices; 0: none.", null=True
            ),
        ),
        migrations.AddField(
            model_name="sliceplan",
            name="market_until",
            field=models.DateTimeField(
                help_text="Until when the averages count; NULL: they are not stored yet.",
                null=True,
            ),
        ),
        migrations.AddIndex(
            model_name="sliceplan",
            index=models.Index(
                condition=models.Q(("market_until__isnull", True)),
                fields=["order"],
                name="plan_without_result",
            ),
        ),
        migrations.AddConstraint(
            model_name="sliceplan",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("market_average__isnull", True),
                    ("market_minutes__isnull", True),
                    ("market_until__isnull", True),
                    ("market_vwap__isnull", True),
                )
                | models.Q(
                    ("market_average__isnull", True),
                    ("market_minutes", 0),
                    ("market_minutes__isnull", False),
                    ("market_until__isnull", False),
                    ("market_vwap__isnull", True),
                )
                | models.Q(
                    ("market_average__isnull", False),
                    ("market_minutes__gt", 0),
                    ("market_minutes__isnull", False),
                    ("market_until__isnull", False),
                    ("market_vwap__isnull", False),
                ),
                name="plan_result_is_whole",
            ),
        ),
    ]
