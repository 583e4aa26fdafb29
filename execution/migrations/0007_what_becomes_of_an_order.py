"""Sums and corrections beside executions; what was dropped is counted."""

import common.database
import common.fields
from decimal import Decimal
from django.db import migrations, models

from common.row_security import operator_rows


class Migration(migrations.Migration):

    dependencies = [
        ('connections', '0004_broker_host'),
        ('execution', '0006_drift_decisions'),
        ('positions', '0004_levels_are_claimed'),
        ('signals', '0005_signal_reaches_admins'),
    ]

    operations = [
        migrations.CreateModel(
            name='Tally',
            fields=[
                ('name', models.CharField(choices=[('message.malformed', 'Message that is no list of ids'), ('message.unknown_ids', 'Order in a message that does not exist'), ('message.ended', 'Order in a message that had ended'), ('report.nobodys', "Report about nobody's connection")], max_length=40, primary_key=True, serialize=False)),
                ('n', models.BigIntegerField(db_default=0, default=0)),
                ('last', models.CharField(blank=True, db_default='', default='', max_length=200)),
                ('last_at', models.DateTimeField(db_default=common.database.ClockTimestamp())),
            ],
            options={
                'verbose_name_plural': 'tallies',
            },
        ),
        migrations.AddField(
            model_name='fill',
            name='revision',
            field=models.SmallIntegerField(db_default=0, default=0, help_text='How often the broker has corrected it.'),
        ),
        migrations.AddField(
            model_name='order',
            name='inferred_quantity',
            field=common.fields.AmountField(db_default=Decimal('0'), default=Decimal('0'), help_text='The part of what has filled that was told as a sum only, or concluded.'),
        ),
        operator_rows('execution_tally'),
    ]
