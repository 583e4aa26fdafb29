"""Quotes, bars and pushed prices.

Generated from the models; what they do not say is in _database.py.
"""

import django.db.models.deletion
from django.db import migrations, models

import common.db.functions
import common.fields
from prices.migrations import _database


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        ('common', '0001_initial'),
        ('connections', '0001_initial'),
    ]

    operations = [
        migrations.CreateModel(
            name='LatestQuote',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('data_connection', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='latest_quotes', to='connections.dataconnection')),
                ('symbol', models.CharField(help_text='Canonical BASE/QUOTE.', max_length=20)),
                ('bid', common.fields.AmountField()),
                ('ask', common.fields.AmountField()),
                ('time', models.DateTimeField(help_text='Market clock.')),
                ('received_at', models.DateTimeField(db_default=common.db.functions.ClockTimestamp(), help_text='Machine time.')),
                ('from_fallback', models.BooleanField(db_default=False, default=False, help_text="Another source's, shifted: see FallbackUse.")),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('data_connection', 'symbol'), name='one_latest_quote_a_symbol'), models.CheckConstraint(condition=models.Q(('ask__gte', models.F('bid')), ('bid__gt', 0)), name='quote_in_order')],
            },
        ),
        migrations.CreateModel(
            name='PriceBar',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('data_connection', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='price_bars', to='connections.dataconnection')),
                ('symbol', models.CharField(help_text='Canonical BASE/QUOTE.', max_length=20)),
                ('minute', models.DateTimeField(help_text='Start of the minute, market clock.')),
                ('bid_open', common.fields.AmountField()),
                ('bid_high', common.fields.AmountField()),
                ('bid_low', common.fields.AmountField()),
                ('bid_close', common.fields.AmountField()),
                ('ask_open', common.fields.AmountField()),
                ('ask_high', common.fields.AmountField()),
                ('ask_low', common.fields.AmountField()),
                ('ask_close', common.fields.AmountField()),
                ('spread_sum', common.fields.AmountField(help_text='Sum of ask - bid over the quotes.')),
                ('quote_count', models.IntegerField()),
                ('first_at', models.DateTimeField(help_text='Of the quote that opened the bar, market clock.')),
                ('last_at', models.DateTimeField(help_text='Of the quote that closed it, market clock.')),
            ],
            options={
                'indexes': [models.Index(fields=['minute'], name='price_bar_minute')],
                'constraints': [models.UniqueConstraint(fields=('data_connection', 'symbol', 'minute'), name='one_price_bar_a_minute'), models.CheckConstraint(condition=models.Q(('ask_high__gte', models.F('ask_low')), ('bid_high__gte', models.F('bid_low')), ('bid_low__gt', 0), ('quote_count__gt', 0), ('spread_sum__gte', 0)), name='price_bar_in_order')],
            },
        ),
        migrations.CreateModel(
            name='FallbackUse',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('data_connection', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='connections.dataconnection')),
                ('symbol', models.CharField(help_text='Canonical BASE/QUOTE.', max_length=20)),
                ('fallback', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='+', to='connections.dataconnection')),
                ('bid_offset', common.fields.AmountField()),
                ('ask_offset', common.fields.AmountField()),
                ('began_at', models.DateTimeField(db_default=common.db.functions.ClockTimestamp(), help_text='Machine time.')),
                ('own_at', models.DateTimeField(help_text="When the source's own last quote came, machine time.")),
                ('own_since', models.DateTimeField(help_text='Since when its own quotes come again; NULL: they do not.', null=True)),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('data_connection', 'symbol'), name='one_fallback_of_a_symbol')],
            },
        ),
        migrations.CreateModel(
            name='PushedQuote',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('data_connection', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='connections.dataconnection')),
                ('symbol', models.CharField(help_text='Canonical BASE/QUOTE.', max_length=20)),
                ('bid', common.fields.AmountField()),
                ('ask', common.fields.AmountField()),
                ('time', models.DateTimeField(help_text="When it was true, by the sender's clock.")),
                ('received_at', models.DateTimeField(db_default=common.db.functions.ClockTimestamp(), help_text='Machine time.')),
            ],
            options={
                'indexes': [models.Index(fields=['data_connection', 'id'], name='pushed_quote_source')],
                'constraints': [models.CheckConstraint(condition=models.Q(('ask__gte', models.F('bid')), ('bid__gt', 0)), name='pushed_in_order')],
            },
        ),
        migrations.CreateModel(
            name='PushedSymbol',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('data_connection', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='connections.dataconnection')),
                ('symbol', models.CharField(help_text='Canonical BASE/QUOTE.', max_length=20)),
                ('bid', common.fields.AmountField()),
                ('ask', common.fields.AmountField()),
                ('time', models.DateTimeField(help_text="By the sender's clock.")),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('data_connection', 'symbol'), name='one_pushed_symbol_a_source')],
            },
        ),
        migrations.CreateModel(
            name='PushRefusal',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('data_connection', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='push_refusals', to='connections.dataconnection')),
                ('code', models.CharField(max_length=40)),
                ('quotes', models.BigIntegerField(db_default=0, default=0)),
                ('last_at', models.DateTimeField(db_default=common.db.functions.ClockTimestamp(), help_text='Machine time.')),
                ('last_text', models.CharField(blank=True, help_text='Why the last one was.', max_length=200)),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('data_connection', 'code'), name='one_count_of_a_push_refusal')],
            },
        ),
        *_database.OPERATIONS,
    ]
