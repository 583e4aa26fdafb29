"""Accounts, instruments, prices and orders of the paper broker.

Generated from the models; what they do not say is in _database.py.
"""

import datetime
from decimal import Decimal

import django.contrib.postgres.indexes
import django.db.models.deletion
from django.db import migrations, models

import common.db.functions
import common.fields
from brokers.paper.migrations import _database


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        ('users', '0001_initial'),
    ]

    operations = [
        migrations.CreateModel(
            name='PaperAccount',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('number', models.CharField(max_length=60, unique=True)),
                ('owner', models.CharField(blank=True, max_length=100)),
                ('currency', models.CharField(default='USD', max_length=10)),
                ('balance', common.fields.AmountField(default=Decimal('0'))),
                ('leverage', common.fields.AmountField(default=Decimal('30'), help_text='30 means 1:30.')),
                ('position_mode', common.fields.ChoiceField(default='HEDGING', max_length=8)),
                ('native_stops', models.BooleanField(default=True, help_text='Keeps stop loss and take profit at the broker.')),
                ('commission_per_million', common.fields.AmountField(default=Decimal('0'), help_text='Account currency for 1,000,000 of notional, each side.')),
                ('trading_allowed', models.BooleanField(default=True)),
                ('password_hash', models.CharField(blank=True, help_text='Empty: any password opens the account.', max_length=64)),
                ('latency_ms', models.PositiveIntegerField(default=0, help_text='On the way to the book.')),
                ('reply_delay_ms', models.PositiveIntegerField(default=0, help_text='On the way back.')),
                ('reject_code', models.CharField(blank=True, help_text='Fault: every order is refused with this code.', max_length=64)),
                ('unreachable', models.BooleanField(default=False, help_text='Fault: no call gets through; the caller sees it.')),
                ('silent_before', models.BooleanField(default=False, help_text='Fault: orders are lost on the way; no answer.')),
                ('silent_after', models.BooleanField(default=False, help_text='Fault: orders are taken and executed; no answer.')),
                ('drop_every_nth', models.PositiveIntegerField(default=0, help_text='Fault: the answer to every nth order is lost; 0: none is.')),
                ('drops_levels', models.BooleanField(default=False, help_text='Fault: orders and changes are taken, and their stops and targets fall away.')),
                ('partial_fill_max', common.fields.AmountField(blank=True, help_text='Base units that an order gets from one quote.', null=True)),
                ('orders_taken', models.PositiveIntegerField(default=0, editable=False, help_text='Counted while drop_every_nth is set.')),
                ('opened_at', models.DateTimeField(db_default=common.db.functions.ClockTimestamp(), editable=False)),
            ],
            options={
                'db_table': 'paper_account',
                'constraints': [models.CheckConstraint(condition=models.Q(('commission_per_million__gte', 0), ('leverage__gt', 0), models.Q(('partial_fill_max__isnull', True), ('partial_fill_max__gt', 0), _connector='OR')), name='paper_account_in_range', violation_error_message='Leverage is above 0, commission per million 0 or more, partial fill max above 0 or empty.')],
            },
        ),
        migrations.CreateModel(
            name='PaperInstrument',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('symbol', models.CharField(max_length=20, unique=True)),
                ('pair', models.CharField(help_text='Canonical BASE/QUOTE.', max_length=20, unique=True)),
                ('digits', models.SmallIntegerField()),
                ('pip', common.fields.AmountField()),
                ('quantity_min', common.fields.AmountField()),
                ('quantity_step', common.fields.AmountField()),
                ('quantity_max', common.fields.AmountField()),
                ('contract_size', common.fields.AmountField()),
                ('stops_level', common.fields.AmountField(default=Decimal('0'))),
                ('margin_rate', common.fields.AmountField(default=Decimal('0'), help_text="0: 1 / the account's leverage.")),
                ('day_ends', models.TimeField(default=datetime.time(22, 0), help_text='UTC; ends orders for the DAY.')),
                ('quote_max_age_seconds', models.PositiveIntegerField(default=600, help_text='Market time; with an older quote the market is closed.')),
            ],
            options={
                'db_table': 'paper_instrument',
                'constraints': [models.CheckConstraint(condition=models.Q(('pip__gt', 0), ('quantity_max__gt', 0), ('quantity_min__gt', 0), ('quantity_step__gt', 0), ('contract_size__gt', 0), ('margin_rate__gte', 0), ('stops_level__gte', 0)), name='paper_instrument_in_range')],
            },
        ),
        migrations.CreateModel(
            name='PaperQuote',
            fields=[
                ('symbol', models.CharField(max_length=20, primary_key=True, serialize=False)),
                ('bid', common.fields.AmountField()),
                ('ask', common.fields.AmountField()),
                ('time', models.DateTimeField(help_text='Market clock.')),
            ],
            options={
                'db_table': 'paper_quote',
            },
        ),
        migrations.CreateModel(
            name='PaperOrder',
            fields=[
                ('id', models.BigIntegerField(help_text='The ticket.', primary_key=True, serialize=False)),
                ('account', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='orders', to='paper.paperaccount')),
                ('connection_id', models.CharField(blank=True, help_text='Repeated in reports.', max_length=60)),
                ('client_order_id', models.CharField(blank=True, max_length=40)),
                ('symbol', models.CharField(max_length=20)),
                ('side', models.CharField(max_length=4)),
                ('order_type', models.CharField(max_length=16)),
                ('time_in_force', models.CharField(max_length=4)),
                ('quantity', common.fields.AmountField()),
                ('filled_quantity', common.fields.AmountField(default=Decimal('0'))),
                ('limit_price', common.fields.AmountField(null=True)),
                ('stop_price', common.fields.AmountField(null=True)),
                ('stop_loss', common.fields.AmountField(null=True)),
                ('take_profit', common.fields.AmountField(null=True)),
                ('reduce_only', models.BooleanField(default=False)),
                ('closes', models.BigIntegerField(help_text='Position that it closes, if it named one.', null=True)),
                ('close_cause', models.CharField(blank=True, max_length=16)),
                ('entry', models.BigIntegerField(help_text="Ticket of the entry a broker's exit ends.", null=True)),
                ('status', common.fields.ChoiceField(max_length=9)),
                ('reason', models.CharField(blank=True, max_length=64)),
                ('detail', models.CharField(blank=True, max_length=200)),
                ('watch', models.CharField(blank=True, help_text='What a working one waits for: LIMIT, STOP, MARKET.', max_length=6)),
                ('trigger_price', common.fields.AmountField(help_text='The price that it waits for.', null=True)),
                ('expires_at', models.DateTimeField(help_text='Market clock.', null=True)),
                ('time', models.DateTimeField(help_text='When it reached the book, market clock.')),
                ('accepted_at', models.DateTimeField(help_text='The same in machine time; empty: refused.', null=True)),
            ],
            options={
                'db_table': 'paper_order',
                'indexes': [models.Index(fields=['client_order_id'], name='paper_order_client_id'), models.Index(condition=models.Q(('status', 'WORKING')), fields=['symbol', 'watch', 'side', 'trigger_price'], name='paper_order_working'), models.Index(condition=models.Q(('expires_at__isnull', False), ('status', 'WORKING')), fields=['expires_at'], name='paper_order_expiring'), models.Index(condition=models.Q(('status', 'WORKING')), fields=['account'], name='paper_order_open'), models.Index(condition=models.Q(('entry__isnull', False)), fields=['entry'], name='paper_order_broker_exit')],
                'constraints': [models.CheckConstraint(condition=models.Q(('filled_quantity__gte', 0), ('filled_quantity__lte', models.F('quantity'))), name='paper_order_filled_le_quantity')],
            },
        ),
        migrations.CreateModel(
            name='PaperFill',
            fields=[
                ('id', models.BigIntegerField(primary_key=True, serialize=False)),
                ('order', models.ForeignKey(db_constraint=False, on_delete=django.db.models.deletion.PROTECT, related_name='fills', to='paper.paperorder')),
                ('account', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.PROTECT, to='paper.paperaccount')),
                ('lot', models.BigIntegerField(help_text='Ticket of the entry that it opened or closed.')),
                ('is_exit', models.BooleanField()),
                ('side', models.CharField(max_length=4)),
                ('quantity', common.fields.AmountField()),
                ('price', common.fields.AmountField()),
                ('commission', common.fields.AmountField()),
                ('profit', common.fields.AmountField(help_text='Realized, before commission.')),
                ('time', models.DateTimeField(help_text='Market clock.')),
            ],
            options={
                'db_table': 'paper_fill',
                'indexes': [django.contrib.postgres.indexes.BrinIndex(autosummarize=True, fields=['time'], name='paper_fill_time')],
                'constraints': [models.CheckConstraint(condition=models.Q(('price__gt', 0), ('quantity__gt', 0)), name='paper_fill_in_range')],
            },
        ),
        migrations.CreateModel(
            name='PaperPosition',
            fields=[
                ('id', models.BigIntegerField(help_text='Ticket of the entry.', primary_key=True, serialize=False)),
                ('position', models.BigIntegerField()),
                ('account', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.PROTECT, to='paper.paperaccount')),
                ('connection_id', models.CharField(blank=True, max_length=60)),
                ('client_order_id', models.CharField(blank=True, max_length=40)),
                ('symbol', models.CharField(max_length=20)),
                ('side', models.CharField(max_length=4)),
                ('quantity', common.fields.AmountField(help_text='Still open; 0: closed.')),
                ('price', common.fields.AmountField()),
                ('stop_loss', common.fields.AmountField(null=True)),
                ('take_profit', common.fields.AmountField(null=True)),
                ('opened_at', models.DateTimeField(help_text='Market clock.')),
            ],
            options={
                'db_table': 'paper_position',
                'indexes': [models.Index(condition=models.Q(('quantity__gt', 0)), fields=['account'], name='paper_position_open'), models.Index(condition=models.Q(('quantity__gt', 0), ('stop_loss__isnull', False)), fields=['symbol', 'side', 'stop_loss'], name='paper_position_stop'), models.Index(condition=models.Q(('quantity__gt', 0), ('take_profit__isnull', False)), fields=['symbol', 'side', 'take_profit'], name='paper_position_target')],
                'constraints': [models.CheckConstraint(condition=models.Q(('quantity__gte', 0)), name='paper_position_not_negative')],
            },
        ),
        migrations.CreateModel(
            name='PaperEvent',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('account', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.PROTECT, to='paper.paperaccount')),
                ('report', models.JSONField()),
                ('created_at', models.DateTimeField(db_default=common.db.functions.ClockTimestamp())),
                ('acknowledged_at', models.DateTimeField(null=True)),
            ],
            options={
                'db_table': 'paper_event',
                'indexes': [models.Index(condition=models.Q(('acknowledged_at__isnull', True)), fields=['id'], name='paper_event_unacknowledged')],
            },
        ),
        *_database.OPERATIONS,
    ]
