"""A preset limits the exposure to a symbol and the open orders."""

from django.conf import settings
from django.db import migrations, models

import common.fields


class Migration(migrations.Migration):
    dependencies = [
        ("connections", "0006_kill_switch"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AddField(
            model_name="tradingpreset",
            name="max_open_orders",
            field=models.IntegerField(
                blank=True, help_text="Entries of the account that are not filled yet.", null=True
            ),
        ),
        migrations.AddField(
            model_name="tradingpreset",
            name="max_symbol_exposure_percent",
            field=common.fields.AmountField(
                blank=True, help_text="Open notional of a symbol, in percent of equity.", null=True
            ),
        ),
        migrations.AddConstraint(
            model_name="tradingpreset",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("max_symbol_exposure_percent__isnull", True),
                        ("max_symbol_exposure_percent__gt", 0),
                        _connector="OR",
                    ),
                    models.Q(
                        ("max_open_orders__isnull", True),
                        ("max_open_orders__gt", 0),
                        _connector="OR",
                    ),
                ),
                name="preset_exposure_limits_gt_0",
                violation_error_message="Max symbol exposure percent and max open orders are above 0, or empty.",
            ),
        ),
    ]
