"""Hosts that most of their accounts cannot reach; one lost answer is no error of an account."""

from django.conf import settings
from django.db import migrations, models

from common.row_security import operator_rows


class Migration(migrations.Migration):

    dependencies = [
        ('connections', '0006_epoch'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='HostCircuit',
            fields=[
                ('host', models.CharField(max_length=120, primary_key=True, serialize=False)),
                ('opened_at', models.DateTimeField(help_text='Empty: closed.', null=True)),
                ('closed_at', models.DateTimeField(null=True)),
                ('probe_at', models.DateTimeField(help_text='When one account is read as a probe.', null=True)),
                ('times', models.SmallIntegerField(default=0, help_text='Openings, one soon after another.')),
                ('failing', models.IntegerField(default=0, help_text='Accounts that did not answer.')),
                ('spoken_to', models.IntegerField(default=0, help_text='Of so many in half a minute.')),
                ('message', models.TextField(blank=True, default='')),
            ],
        ),
        migrations.AddField(
            model_name='connectionhealth',
            name='failing_since',
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name='connectionhealth',
            name='unreachable_at',
            field=models.DateTimeField(help_text='When it last did not answer; empty when its login is what is wrong.', null=True),
        ),
        migrations.AddIndex(
            model_name='connectionhealth',
            index=models.Index(condition=models.Q(('unreachable_at__isnull', False)), fields=['last_error_at'], name='health_in_doubt'),
        ),
        migrations.AddIndex(
            model_name='executionconnection',
            index=models.Index(fields=['broker_host'], name='connection_of_host'),
        ),
        operator_rows("connections_hostcircuit"),
    ]
