"""Whose trouble is all of its accounts' trouble: computed by the database, so that SQL, models and
people never disagree."""

import connections.models.accounts
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('connections', '0003_audit_trail'),
    ]

    operations = [
        migrations.AddField(
            model_name='executionconnection',
            name='broker_host',
            field=models.GeneratedField(db_persist=True, expression=connections.models.accounts.BrokerHost(), output_field=models.CharField(max_length=120)),
        ),
    ]
