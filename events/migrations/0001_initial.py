"""Events, inboxes and channels.

Generated from the models; what they do not say is in _database.py.
"""

import uuid

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

import common.db.functions
import common.fields
from events.migrations import _database


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        ('users', '0001_initial'),
    ]

    operations = [
        migrations.CreateModel(
            name='Event',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('kind', common.fields.ChoiceField(max_length=40)),
                ('user_id', models.BigIntegerField(null=True)),
                ('connection_id', models.UUIDField(null=True)),
                ('signal_id', models.BigIntegerField(null=True)),
                ('order_id', models.BigIntegerField(null=True)),
                ('payload', models.JSONField(db_default={}, default=dict)),
                ('created_at', models.DateTimeField(db_default=common.db.functions.ClockTimestamp())),
                ('routed_at', models.DateTimeField(null=True)),
            ],
            options={
                'indexes': [models.Index(condition=models.Q(('routed_at', None)), fields=['id'], name='event_due'), models.Index(condition=models.Q(('kind', 'channel.confirmation')), fields=['user_id', 'created_at'], name='event_confirmations')],
            },
        ),
        migrations.CreateModel(
            name='Notification',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('user', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='notifications', to=settings.AUTH_USER_MODEL)),
                ('event_id', models.BigIntegerField()),
                ('kind', common.fields.ChoiceField(max_length=40)),
                ('title', models.CharField(max_length=200)),
                ('body', models.TextField(blank=True)),
                ('created_at', models.DateTimeField(db_default=common.db.functions.ClockTimestamp())),
                ('read_at', models.DateTimeField(blank=True, null=True)),
            ],
            options={
                'ordering': ('-id',),
                'indexes': [models.Index(fields=['user', '-id'], name='notification_inbox'), models.Index(condition=models.Q(('read_at__isnull', True)), fields=['user'], name='notification_unread')],
                'constraints': [models.UniqueConstraint(fields=('user', 'event_id'), name='one_notification_an_event')],
            },
        ),
        migrations.CreateModel(
            name='Channel',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('key', models.UUIDField(default=uuid.uuid4, editable=False, unique=True)),
                ('user', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='channels', to=settings.AUTH_USER_MODEL)),
                ('name', models.CharField(max_length=100)),
                ('url_sealed', models.BinaryField(help_text='The apprise URL; it may hold tokens.')),
                ('url_display', models.CharField(help_text='Scheme and host only.', max_length=100)),
                ('kinds', models.JSONField(blank=True, default=list, help_text='Event kinds; empty: all.')),
                ('is_active', models.BooleanField(default=True)),
                ('consecutive_failures', models.IntegerField(db_default=0, default=0)),
                ('last_error', models.TextField(blank=True, db_default='', default='')),
                ('last_sent_at', models.DateTimeField(blank=True, null=True)),
                ('backoff_until', models.DateTimeField(blank=True, help_text='Nothing is sent before; machine time.', null=True)),
                ('confirmed_at', models.DateTimeField(blank=True, help_text='When the e-mail address was confirmed.', null=True)),
                ('confirmation_requested_at', models.DateTimeField(blank=True, null=True)),
                ('confirm_by', models.DateTimeField(blank=True, help_text='An older channel receives messages until then without confirmation.', null=True)),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('secret_sealed', models.BinaryField(help_text='What a signed webhook is signed with; None: no signed webhook.', null=True)),
                ('previous_secret_sealed', models.BinaryField(null=True)),
                ('previous_secret_until', models.DateTimeField(help_text='Until then a webhook is signed with the previous secret as well.', null=True)),
                ('quiet_from', models.TimeField(help_text='In the time zone of its user.', null=True)),
                ('quiet_until', models.TimeField(null=True)),
                ('digest', common.fields.ChoiceField(blank=True, db_default='', default='', max_length=10)),
                ('digest_at', models.TimeField(help_text='When a daily digest goes out.', null=True)),
                ('test_event_id', models.BigIntegerField(help_text="The last test message's event.", null=True)),
                ('push_key', models.CharField(blank=True, db_default='', default='', help_text='Our public key that a browser subscribed with; empty: no browser.', max_length=100)),
                ('push_digest', models.CharField(blank=True, db_default='', default='', help_text="Of the browser's subscription, by which the browser shows that it is the one.", max_length=64)),
                ('ended_at', models.DateTimeField(help_text="When the browser's push service stated that it has gone.", null=True)),
                ('made_with', models.ForeignKey(blank=True, editable=False, help_text='The API key that added it. It outlives the key: its owner may switch it off.', null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to='users.apikey')),
            ],
            options={
                'indexes': [models.Index(condition=models.Q(('is_active', True), ('kinds__has_key', 'order.placed')), fields=['user'], name='channel_wants_placed'), models.Index(condition=models.Q(('is_active', True), ('kinds__has_key', 'position.opened')), fields=['user'], name='channel_wants_opened')],
                'constraints': [models.CheckConstraint(condition=models.Q(models.Q(('quiet_from', None), ('quiet_until', None)), models.Q(('quiet_from__isnull', False), ('quiet_until__isnull', False)), _connector='OR'), name='quiet_hours_have_both_ends'), models.CheckConstraint(condition=models.Q(models.Q(('digest', 'DAILY'), _negated=True), ('digest_at__isnull', False), _connector='OR'), name='a_daily_digest_has_a_time'), models.CheckConstraint(condition=models.Q(('ended_at', None), ('is_active', False), _connector='OR'), name='an_ended_channel_is_off'), models.UniqueConstraint(condition=models.Q(('push_digest', ''), _negated=True), fields=('push_digest', 'user'), name='one_channel_a_subscription')],
            },
        ),
        migrations.CreateModel(
            name='Delivery',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('event_id', models.BigIntegerField()),
                ('channel', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='deliveries', to='events.channel')),
                ('status', common.fields.ChoiceField(db_default='PENDING', default='PENDING', max_length=10)),
                ('tries', models.SmallIntegerField(db_default=0, default=0)),
                ('due_at', models.DateTimeField(db_default=common.db.functions.ClockTimestamp(), help_text="When it is tried next, with the channel's backoff.")),
                ('last_error', models.TextField(blank=True, db_default='', default='')),
                ('sent_at', models.DateTimeField(null=True)),
                ('hold_until', models.DateTimeField(help_text='It waits until then for the end of quiet hours or for a digest.', null=True)),
                ('released_at', models.DateTimeField(help_text='Since when it waits for nothing any more; NULL: since its event.', null=True)),
                ('message_id', models.BigIntegerField(help_text='The logged message that it is part of, the same in every repetition.', null=True)),
            ],
            options={
                'verbose_name_plural': 'deliveries',
                'indexes': [models.Index(condition=models.Q(('hold_until', None), ('status', 'PENDING')), fields=['channel', 'event_id'], name='delivery_waiting'), models.Index(condition=models.Q(('hold_until__isnull', False)), fields=['hold_until'], name='delivery_held'), models.Index(condition=models.Q(('hold_until__isnull', False)), fields=['channel', 'hold_until'], name='delivery_held_of_channel'), models.Index(condition=models.Q(('status', 'FAILED')), fields=['channel', 'event_id'], name='delivery_failed'), models.Index(condition=models.Q(('message_id__isnull', False)), fields=['message_id'], name='delivery_of_message')],
                'constraints': [models.UniqueConstraint(fields=('event_id', 'channel'), name='one_delivery_a_channel')],
            },
        ),
        migrations.CreateModel(
            name='WebhookMessage',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('channel', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='messages', to='events.channel')),
                ('uid', models.CharField(help_text='The header webhook-id.', max_length=40, unique=True)),
                ('status', common.fields.ChoiceField(db_default='PENDING', default='PENDING', max_length=10)),
                ('events', models.IntegerField(help_text='How many events it reports.')),
                ('title', models.CharField(blank=True, max_length=200)),
                ('created_at', models.DateTimeField(db_default=common.db.functions.ClockTimestamp())),
            ],
            options={
                'indexes': [models.Index(fields=['channel', '-id'], name='webhook_messages'), models.Index(condition=models.Q(('status', 'PENDING')), fields=['channel', 'id'], name='webhook_unsent')],
            },
        ),
        migrations.CreateModel(
            name='WebhookAttempt',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('channel', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='attempts', to='events.channel')),
                ('message', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='attempts', to='events.webhookmessage')),
                ('at', models.DateTimeField(db_default=common.db.functions.ClockTimestamp())),
                ('status_code', models.SmallIntegerField(help_text='None: no answer.', null=True)),
                ('duration_ms', models.IntegerField()),
                ('answer', models.CharField(blank=True, help_text='Its first bytes.', max_length=200)),
                ('error', models.TextField(blank=True, help_text='Empty: it was accepted.')),
                ('next_attempt_at', models.DateTimeField(null=True)),
            ],
            options={
                'indexes': [models.Index(fields=['message', 'id'], name='webhook_attempts')],
            },
        ),
        *_database.OPERATIONS,
    ]
