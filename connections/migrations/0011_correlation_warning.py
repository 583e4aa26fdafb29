"""A preset warns about correlated exposure; a subscription may warn earlier."""

from django.conf import settings
from django.db import migrations, models

import common.fields


class Migration(migrations.Migration):
    dependencies = [
        ("connections", "0010_cash_flow_reads"),
        ("signals", "0006_signal_limit"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AddField(
            model_name="subscription",
            name="correlated_exposure_warning_percent",
            field=common.fields.AmountField(
                blank=True,
                help_text="Warn about an entry beyond this net exposure to a currency, in percent of equity. Nothing is denied.",
                null=True,
            ),
        ),
        migrations.AddField(
            model_name="tradingpreset",
            name="correlated_exposure_warning_percent",
            field=common.fields.AmountField(
                blank=True,
                help_text="Warn about an entry beyond this net exposure to a currency, in percent of equity. Nothing is denied.",
                null=True,
            ),
        ),
        migrations.AddConstraint(
            model_name="subscription",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("correlated_exposure_warning_percent__isnull", True),
                    ("correlated_exposure_warning_percent__gt", 0),
                    _connector="OR",
                ),
                name="subscription_correlation_gt_0",
                violation_error_message="Correlated exposure warning percent is above 0, or empty.",
            ),
        ),
        migrations.AddConstraint(
            model_name="tradingpreset",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("correlated_exposure_warning_percent__isnull", True),
                    ("correlated_exposure_warning_percent__gt", 0),
                    _connector="OR",
                ),
                name="preset_correlation_gt_0",
                violation_error_message="Correlated exposure warning percent is above 0, or empty.",
            ),
        ),
    ]
