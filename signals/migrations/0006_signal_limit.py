"""A feed limits the notional of a signal over all accounts."""

from django.conf import settings
from django.db import migrations, models

import common.fields


class Migration(migrations.Migration):
    dependencies = [
        ("signals", "0005_order_limits"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AddField(
            model_name="feed",
            name="max_signal_currency",
            field=models.CharField(
                blank=True,
                db_default="",
                default="",
                help_text="The currency of that limit, such as USD.",
                max_length=10,
            ),
        ),
        migrations.AddField(
            model_name="feed",
            name="max_signal_notional",
            field=common.fields.AmountField(
                blank=True,
                help_text="Notional of a signal's entries on all accounts together. Empty: no limit.",
                null=True,
            ),
        ),
        migrations.AddConstraint(
            model_name="feed",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("max_signal_currency", ""), ("max_signal_notional__isnull", True)),
                    models.Q(
                        ("max_signal_notional__gt", 0),
                        ("max_signal_notional__isnull", False),
                        models.Q(("max_signal_currency", ""), _negated=True),
                    ),
                    _connector="OR",
                ),
                name="feed_signal_limit_has_currency",
                violation_error_message="Max signal notional is above 0 and has a currency, or both are empty.",
            ),
        ),
    ]
