"""Quotes that are pushed, and pairs that have the prices of a fallback."""

import django.db.models.deletion
from django.db import migrations, models

import common.db_functions
import common.fields
from common.row_security import TENANT, tenant_rows, tenant_set
from common.table_statistics import ANALYZE_RARELY

SEEN = "data_connection_id IN (SELECT public.fillcast_seen_sources())"
MY_SOURCE = "data_connection_id IN (SELECT public.fillcast_my_sources())"


class Migration(migrations.Migration):
    dependencies = [
        ("connections", "0046_suspect_prices"),
        ("prices", "0003_sets_of_tenants"),
    ]

    operations = [
        migrations.AddField(
            model_name="latestquote",
            name="from_fallback",
            field=models.BooleanField(
                db_default=False,
                default=False,
                help_text="Another source's, shifted: see FallbackUse.",
            ),
        ),
        migrations.CreateModel(
            name="FallbackUse",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("symbol", models.CharField(help_text="Canonical BASE/QUOTE.", max_length=20)),
                ("bid_offset", common.fields.AmountField()),
                ("ask_offset", common.fields.AmountField()),
                (
                    "began_at",
                    models.DateTimeField(
                        db_default=common.db_functions.ClockTimestamp(), help_text="Machine time."
                    ),
                ),
                (
                    "own_at",
                    models.DateTimeField(
                        help_text="When the source's own last quote came, machine time."
                    ),
                ),
                (
                    "own_since",
                    models.DateTimeField(
                        help_text="Since when its own quotes come again; NULL: they do not.",
                        null=True,
                    ),
                ),
                (
                    "data_connection",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="connections.dataconnection",
                    ),
                ),
                (
                    "fallback",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="connections.dataconnection",
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(
                        fields=("data_connection", "symbol"), name="one_fallback_of_a_symbol"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="PushedQuote",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("symbol", models.CharField(help_text="Canonical BASE/QUOTE.", max_length=20)),
                ("bid", common.fields.AmountField()),
                ("ask", common.fields.AmountField()),
                (
                    "time",
                    models.DateTimeField(help_text="When it was true, by the sender's clock."),
                ),
                (
                    "received_at",
                    models.DateTimeField(
                        db_default=common.db_functions.ClockTimestamp(), help_text="Machine time."
                    ),
                ),
                (
                    "data_connection",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="connections.dataconnection",
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(fields=["data_connection", "id"], name="pushed_quote_source")
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("ask__gte", models.F("bid")), ("bid__gt", 0)),
                        name="pushed_in_order",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="PushedSymbol",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("symbol", models.CharField(help_text="Canonical BASE/QUOTE.", max_length=20)),
                ("bid", common.fields.AmountField()),
                ("ask", common.fields.AmountField()),
                ("time", models.DateTimeField(help_text="By the sender's clock.")),
                (
                    "data_connection",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="connections.dataconnection",
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(
                        fields=("data_connection", "symbol"), name="one_pushed_symbol_a_source"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="PushRefusal",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("code", models.CharField(max_length=40)),
                ("quotes", models.BigIntegerField(db_default=0, default=0)),
                (
                    "last_at",
                    models.DateTimeField(
                        db_default=common.db_functions.ClockTimestamp(), help_text="Machine time."
                    ),
                ),
                (
                    "last_text",
                    models.CharField(blank=True, help_text="Why the last one was.", max_length=200),
                ),
                (
                    "data_connection",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="push_refusals",
                        to="connections.dataconnection",
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(
                        fields=("data_connection", "code"), name="one_count_of_a_push_refusal"
                    )
                ],
            },
        ),
        # A tenant pushes to their own sources, and sees where prices come from.
        tenant_set(
            "fillcast_my_sources",
            "SETOF bigint",
            "SELECT own.id FROM public.connections_dataconnection own"
            f" WHERE own.user_id = {TENANT}",
        ),
        tenant_rows("prices_fallbackuse", "false", read=SEEN),
        tenant_rows("prices_pushedquote", MY_SOURCE),
        tenant_rows("prices_pushedsymbol", MY_SOURCE),
        tenant_rows("prices_pushrefusal", MY_SOURCE),
        # Written and deleted many times a second.
        migrations.RunSQL(
            "ALTER TABLE prices_pushedsymbol SET (fillfactor = 50)", migrations.RunSQL.noop
        ),
        migrations.RunSQL(ANALYZE_RARELY, migrations.RunSQL.noop),
    ]
    safe_beside_released_code = {"DO $$": "it changes the settings of the new tables alone"}
