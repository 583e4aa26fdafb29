"""What hourly audits counted."""

import common.database
from django.db import migrations, models

from common.row_security import operator_rows


class Migration(migrations.Migration):

    dependencies = [
        ('execution', '0009_messages_for_no_task'),
    ]

    operations = [
        migrations.CreateModel(
            name='AuditRun',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('at', models.DateTimeField(db_default=common.database.ClockTimestamp(), db_index=True)),
                ('ok', models.BooleanField()),
                ('counters', models.JSONField(default=dict)),
                ('unread', models.JSONField(default=list, help_text='Broker kinds whose books were not shown.')),
            ],
            options={
                'ordering': ('-at',),
            },
        ),
        operator_rows("execution_auditrun"),
    ]
