"""The inbox of alerts, and Telegram bots.

Generated from the models; what they do not say is in _database.py.
"""

import django.contrib.postgres.fields
import django.db.models.deletion
from django.db import migrations, models

import common.db.functions
import common.fields
from alerts.migrations import _database


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        ('common', '0001_initial'),
        ('signals', '0001_initial'),
        ('users', '0001_initial'),
    ]

    operations = [
        migrations.CreateModel(
            name='IncomingAlert',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('feed', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='incoming_alerts', to='signals.feed')),
                ('token', models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to='signals.feedtoken')),
                ('source', common.fields.ChoiceField(db_default='WEBHOOK', default='WEBHOOK', max_length=8)),
                ('source_key', models.CharField(blank=True, db_default='', default='', help_text='What its source calls it; the same key again is the same alert. Empty: none.', max_length=100)),
                ('reply_to', models.CharField(blank=True, db_default='', default='', help_text="The message that it answers: it is about that message's trade.", max_length=60)),
                ('edit_of', models.CharField(blank=True, db_default='', default='', help_text='The published message that it edits: it may change its levels.', max_length=60)),
                ('address', models.GenericIPAddressField(help_text='From where it was sent.', null=True)),
                ('body', models.BinaryField()),
                ('symbol', models.CharField(blank=True, db_default='', default='', help_text='Alerts of one symbol wait for each other. Empty: it waits for all before it.', max_length=20)),
                ('state', common.fields.ChoiceField(db_default='WAITING', default='WAITING', max_length=9)),
                ('received_at', models.DateTimeField(db_default=common.db.functions.ClockTimestamp())),
                ('entry_until', models.DateTimeField(help_text='It opens no trade after that. Null: it opens none.', null=True)),
                ('expires_at', models.DateTimeField(help_text='It waits at most until then.', null=True)),
                ('due_at', models.DateTimeField(db_default=common.db.functions.ClockTimestamp())),
                ('attempts', models.PositiveSmallIntegerField(db_default=0, default=0)),
                ('settled_at', models.DateTimeField(null=True)),
                ('code', models.CharField(blank=True, db_default='', default='', help_text='Why it was refused, or why the last attempt failed.', max_length=64)),
                ('detail', models.TextField(blank=True, db_default='', default='')),
                ('refusal', common.fields.ChoiceField(blank=True, db_default='', default='', max_length=11)),
                ('errors', models.JSONField(db_default=[], default=list)),
                ('change', models.CharField(blank=True, db_default='', default='', max_length=7)),
                ('summary', models.CharField(blank=True, db_default='', default='', max_length=300)),
                ('signal_ids', django.contrib.postgres.fields.ArrayField(base_field=models.BigIntegerField(), db_default=[], default=list, size=None)),
            ],
            options={
                'indexes': [models.Index(condition=models.Q(('state', 'WAITING')), fields=['feed', 'id'], name='incoming_alert_waiting'), models.Index(fields=['feed', '-id'], name='incoming_alert_log'), models.Index(fields=['received_at'], name='incoming_alert_received')],
                'constraints': [models.UniqueConstraint(condition=models.Q(('source_key', ''), _negated=True), fields=('feed', 'source', 'source_key'), name='one_incoming_alert'), models.CheckConstraint(condition=models.Q(models.Q(('expires_at__isnull', False), ('settled_at__isnull', True), ('state', 'WAITING')), models.Q(models.Q(('state', 'WAITING'), _negated=True), ('settled_at__isnull', False)), _connector='OR'), name='settled_alert_has_end'), models.CheckConstraint(condition=models.Q(models.Q(('refusal__gt', ''), ('state__in', ('REFUSED', 'EXPIRED'))), models.Q(models.Q(('state__in', ('REFUSED', 'EXPIRED')), _negated=True), ('refusal', '')), _connector='OR'), name='refused_alert_has_reason')],
            },
        ),
        migrations.CreateModel(
            name='TelegramBot',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('feed', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, related_name='telegram_bot', to='signals.feed')),
                ('bot_id', models.BigIntegerField(help_text="Telegram's number of the bot.")),
                ('token_sealed', models.BinaryField()),
                ('made_with', models.ForeignKey(blank=True, editable=False, help_text='The API key that set its token: it is not read once that has ended.', null=True, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='users.apikey')),
                ('username', models.CharField(blank=True, db_default='', default='', max_length=64)),
                ('forward_from', django.contrib.postgres.fields.ArrayField(base_field=models.BigIntegerField(), blank=True, db_default=[], default=list, help_text='Chats whose forwarded messages count. Empty: forwarded messages are refused.', size=None)),
                ('forward_from_made_with', models.ForeignKey(blank=True, editable=False, help_text='The API key that set forward_from: those chats count no more once it has ended.', null=True, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='users.apikey')),
                ('is_paused', models.BooleanField(db_default=False, default=False)),
                ('created_at', models.DateTimeField(db_default=common.db.functions.ClockTimestamp())),
                ('checked_at', models.DateTimeField(help_text='When Telegram accepted the token.', null=True)),
                ('contact_at', models.DateTimeField(help_text='When Telegram answered last.', null=True)),
                ('update_at', models.DateTimeField(help_text='When its last message arrived.', null=True)),
                ('next_offset', models.BigIntegerField(db_default=0, default=0)),
                ('refused_count', models.BigIntegerField(db_default=0, default=0, help_text='Messages of chats and senders that are not allowed.')),
                ('error_code', models.CharField(blank=True, db_default='', default='', max_length=64)),
                ('error_detail', models.CharField(blank=True, db_default='', default='', max_length=300)),
                ('error_at', models.DateTimeField(null=True)),
                ('failures', models.PositiveIntegerField(db_default=0, default=0)),
                ('due_at', models.DateTimeField(db_default=common.db.functions.ClockTimestamp())),
                ('holder', models.CharField(blank=True, db_default='', default='', max_length=100)),
                ('fence', models.BigIntegerField(db_default=0, default=0)),
                ('lease_until', models.DateTimeField(db_default=common.db.functions.ClockTimestamp())),
            ],
            options={
                'constraints': [models.UniqueConstraint(condition=models.Q(('checked_at__isnull', False)), fields=('bot_id',), name='bot_of_one_feed')],
            },
        ),
        migrations.CreateModel(
            name='TelegramChat',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('bot', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='chats', to='alerts.telegrambot')),
                ('chat_id', models.BigIntegerField()),
                ('kind', common.fields.ChoiceField(max_length=10)),
                ('title', models.CharField(blank=True, db_default='', default='', max_length=200)),
                ('is_allowed', models.BooleanField(db_default=False, default=False)),
                ('made_with', models.ForeignKey(blank=True, editable=False, help_text='The API key that allowed it: it is allowed no more once that has ended.', null=True, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='users.apikey')),
                ('sender_ids', django.contrib.postgres.fields.ArrayField(base_field=models.BigIntegerField(), blank=True, db_default=[], default=list, help_text='Who may send signals here. Empty: only posts of the channel itself.', size=None)),
                ('found_sender_id', models.BigIntegerField(help_text='Who wrote the message by which it was found.', null=True)),
                ('found_sender', models.CharField(blank=True, db_default='', default='', max_length=200)),
                ('found_at', models.DateTimeField(db_default=common.db.functions.ClockTimestamp())),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('bot', 'chat_id'), name='one_telegram_chat'), models.CheckConstraint(condition=models.Q(('is_allowed', False), ('kind', 'channel'), models.Q(('sender_ids', []), _negated=True), _connector='OR'), name='telegram_group_has_senders', violation_error_message='In a group only named senders can be allowed.')],
            },
        ),
        migrations.CreateModel(
            name='TelegramMessage',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('feed', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='telegram_messages', to='signals.feed')),
                ('key', models.CharField(help_text='The chat and the message: -1001234:57.', max_length=60)),
                ('body', models.BinaryField()),
                ('signal_ids', django.contrib.postgres.fields.ArrayField(base_field=models.BigIntegerField(), size=None)),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('feed', 'key'), name='one_telegram_message')],
            },
        ),
        *_database.OPERATIONS,
    ]
