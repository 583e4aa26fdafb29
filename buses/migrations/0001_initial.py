"""What goes to buses and comes from them.

Generated from the models; what they do not say is in _database.py.
"""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

import common.db.functions
import common.fields
from buses.migrations import _database


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        ('common', '0001_initial'),
        ('connections', '0001_initial'),
        ('signals', '0001_initial'),
        ('users', '0001_initial'),
    ]

    operations = [
        migrations.CreateModel(
            name='BusRoute',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('subject', models.CharField(max_length=200)),
                ('feed', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.CASCADE, to='signals.feed')),
                ('connection', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.CASCADE, to='connections.executionconnection')),
                ('created_at', models.DateTimeField(db_default=common.db.functions.ClockTimestamp())),
                ('created_by', models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('ended_at', models.DateTimeField(blank=True, null=True)),
            ],
            options={
                'ordering': ('subject', '-id'),
                'constraints': [models.UniqueConstraint(condition=models.Q(('ended_at__isnull', True)), fields=('subject',), name='one_bus_route'), models.CheckConstraint(condition=models.Q(models.Q(('connection__isnull', True), ('feed__isnull', False)), models.Q(('connection__isnull', False), ('feed__isnull', True)), _connector='OR'), name='bus_route_has_one_target')],
            },
        ),
        migrations.CreateModel(
            name='BusLane',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(max_length=250, unique=True)),
                ('created_at', models.DateTimeField(db_default=common.db.functions.ClockTimestamp())),
                ('ended_at', models.DateTimeField(null=True)),
                ('paused_at', models.DateTimeField(blank=True, null=True)),
                ('paused_by', models.CharField(blank=True, db_default='', default='', max_length=150)),
                ('polled_at', models.DateTimeField(null=True)),
                ('failures', models.IntegerField(db_default=0, default=0, help_text='Failures since the last success.')),
                ('last_error', models.CharField(blank=True, db_default='', default='', max_length=500)),
                ('last_error_at', models.DateTimeField(null=True)),
                ('alerted_at', models.DateTimeField(null=True)),
                ('bus', models.CharField(blank=True, db_default='', default='', max_length=200)),
                ('position', models.CharField(blank=True, db_default='', default='', max_length=200)),
                ('last_message_at', models.DateTimeField(null=True)),
                ('cursor', models.JSONField(db_default={}, default=dict)),
            ],
            options={
                'verbose_name': 'lane from a bus',
                'verbose_name_plural': 'lanes from buses',
                'ordering': ('name',),
            },
        ),
        migrations.CreateModel(
            name='BusMessage',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('bus', models.CharField(max_length=200)),
                ('message_id', models.CharField(max_length=200)),
                ('subject', models.CharField(max_length=200)),
                ('body', models.BinaryField()),
                ('digest', models.CharField(max_length=64)),
                ('length', models.BigIntegerField()),
                ('is_repeat', models.BooleanField(db_default=False, default=False)),
                ('is_close', models.BooleanField(db_default=False, default=False)),
                ('stored_at', models.DateTimeField()),
                ('received_at', models.DateTimeField(db_default=common.db.functions.ClockTimestamp())),
                ('settled_at', models.DateTimeField(db_default=common.db.functions.ClockTimestamp())),
                ('state', common.fields.ChoiceField(max_length=9)),
                ('code', models.CharField(blank=True, db_default='', default='', max_length=64)),
                ('detail', models.CharField(blank=True, db_default='', default='', max_length=2000)),
                ('signal', models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to='signals.signal')),
                ('replays', models.PositiveSmallIntegerField(db_default=0, default=0)),
                ('replay_requested_at', models.DateTimeField(blank=True, null=True)),
                ('alerted_at', models.DateTimeField(null=True)),
                ('decided_by', models.ForeignKey(help_text='Who requested the last replay, or discarded it.', null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'ordering': ('-id',),
                'indexes': [models.Index(condition=models.Q(('state', 'DEAD')), fields=['-id'], name='bus_message_dead'), models.Index(condition=models.Q(('alerted_at__isnull', True), ('state', 'DEAD')), fields=['id'], name='bus_message_to_alert'), models.Index(condition=models.Q(('alerted_at__isnull', False)), fields=['alerted_at'], name='bus_message_alerted'), models.Index(fields=['settled_at'], name='bus_message_settled'), models.Index(condition=models.Q(('replay_requested_at__isnull', False)), fields=['replay_requested_at'], name='bus_message_replay')],
                'constraints': [models.UniqueConstraint(condition=models.Q(('is_repeat', False)), fields=('bus', 'subject', 'message_id'), name='one_message_of_subject'), models.UniqueConstraint(fields=('bus', 'subject', 'message_id', 'digest'), name='one_message_content'), models.CheckConstraint(condition=models.Q(models.Q(('state', 'DEAD'), _negated=True), ('code__gt', ''), _connector='OR'), name='dead_message_has_reason')],
            },
        ),
        migrations.CreateModel(
            name='BusSink',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(max_length=200, unique=True)),
                ('paused_at', models.DateTimeField(blank=True, null=True)),
                ('paused_by', models.CharField(blank=True, db_default='', default='', max_length=150)),
                ('rewind_to', models.DateTimeField(blank=True, help_text='Requested: deliver again what happened since then.', null=True)),
                ('holder', models.CharField(blank=True, db_default='', default='', max_length=80)),
                ('lease_until', models.DateTimeField(null=True)),
                ('fence', models.BigIntegerField(db_default=0, default=0)),
                ('delivered', models.BigIntegerField(db_default=0, default=0, help_text='Events that the bus has confirmed.')),
                ('read_to', models.DateTimeField(db_default=common.db.functions.ClockTimestamp(), help_text='Everything up to then was delivered, but for what was not committed yet.')),
                ('is_behind', models.BooleanField(db_default=False, default=False, help_text='There was more to read at the last read.')),
                ('last_success_at', models.DateTimeField(null=True)),
                ('failures', models.IntegerField(db_default=0, default=0, help_text='Failures since the last success.')),
                ('last_error', models.CharField(blank=True, db_default='', default='', max_length=500)),
                ('last_error_at', models.DateTimeField(null=True)),
                ('alerted_at', models.DateTimeField(help_text='When operators were alerted that it is behind; NULL: it is not.', null=True)),
                ('retry_at', models.DateTimeField(null=True)),
            ],
            options={
                'verbose_name': 'bus',
                'verbose_name_plural': 'buses',
                'ordering': ('name',),
            },
        ),
        migrations.CreateModel(
            name='SinkCursor',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('sink', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='cursors', to='buses.bussink')),
                ('source', models.CharField(max_length=20)),
                ('last_id', models.BigIntegerField()),
                ('gaps', models.JSONField(db_default=[], default=list)),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('sink', 'source'), name='one_cursor')],
            },
        ),
        migrations.CreateModel(
            name='DeadLetter',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('sink', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='dead_letters', to='buses.bussink')),
                ('envelope_id', models.CharField(max_length=200)),
                ('type', models.CharField(max_length=60)),
                ('reason', models.CharField(max_length=500)),
                ('envelope', models.JSONField(default=dict)),
                ('at', models.DateTimeField(db_default=common.db.functions.ClockTimestamp())),
                ('replay_requested_at', models.DateTimeField(blank=True, null=True)),
                ('replayed_at', models.DateTimeField(blank=True, null=True)),
            ],
            options={
                'ordering': ('-id',),
                'indexes': [models.Index(condition=models.Q(('replayed_at__isnull', True)), fields=['sink', 'id'], name='dead_letter_waiting')],
                'constraints': [models.UniqueConstraint(fields=('sink', 'envelope_id'), name='one_dead_letter')],
            },
        ),
        migrations.CreateModel(
            name='Announcement',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('kind', common.fields.ChoiceField(max_length=30)),
                ('data', models.JSONField(default=dict)),
                ('at', models.DateTimeField(db_default=common.db.functions.ClockTimestamp())),
            ],
            options={
                'ordering': ('-id',),
            },
        ),
        *_database.OPERATIONS,
    ]
