"""Versions of accounts, presets, subscriptions and halts, written by triggers; nobody rewrites them."""

import common.clocks
import common.database
import common.fields
import django.db.models.deletion
import pgtrigger.compiler
import pgtrigger.migrations
import uuid
from decimal import Decimal
from django.conf import settings
from django.db import migrations, models

from common.history import history_rows


class Migration(migrations.Migration):
    dependencies = [
        ("connections", "0002_row_security"),
        ("pghistory", "0007_auto_20250421_0444"),
        ("signals", "0002_levels_on_the_right_side"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="DataConnectionEvent",
            fields=[
                ("pgh_id", models.AutoField(primary_key=True, serialize=False)),
                ("pgh_created_at", models.DateTimeField(auto_now_add=True)),
                ("pgh_label", models.TextField(help_text="The event label.")),
                ("id", models.BigIntegerField()),
                ("name", models.CharField(max_length=100)),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("replay", "Recorded quotes"),
                            ("static", "Constant quotes (benchmarks)"),
                            ("broker", "The broker's own stream"),
                        ],
                        default="replay",
                        max_length=10,
                    ),
                ),
                ("settings", models.JSONField(blank=True, default=dict)),
                ("is_active", models.BooleanField(default=True)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
            ],
            options={
                "abstract": False,
                "default_permissions": ("view",),
            },
        ),
        migrations.CreateModel(
            name="ExecutionConnectionEvent",
            fields=[
                ("pgh_id", models.AutoField(primary_key=True, serialize=False)),
                ("pgh_created_at", models.DateTimeField(auto_now_add=True)),
                ("pgh_label", models.TextField(help_text="The event label.")),
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, serialize=False)),
                ("name", models.CharField(max_length=100)),
                (
                    "type",
                    models.CharField(help_text="A broker kind of the registry.", max_length=20),
                ),
                ("exchange_name", models.CharField(blank=True, max_length=40)),
                (
                    "account",
                    models.CharField(
                        help_text="Account number or login at the broker.", max_length=60
                    ),
                ),
                (
                    "credentials_changed_at",
                    models.DateTimeField(
                        blank=True,
                        editable=False,
                        help_text="Leaves a line in the audit trail.",
                        null=True,
                    ),
                ),
                ("is_active", models.BooleanField(default=True)),
                ("is_paused", models.BooleanField(default=False)),
                ("settings", models.JSONField(blank=True, default=dict)),
                (
                    "instrument_book",
                    models.CharField(
                        blank=True,
                        help_text="Which list of instruments the account shares.",
                        max_length=80,
                    ),
                ),
                (
                    "created_at",
                    models.DateTimeField(default=common.clocks.market_now, editable=False),
                ),
                ("archived_at", models.DateTimeField(blank=True, null=True)),
            ],
            options={
                "abstract": False,
                "default_permissions": ("view",),
            },
        ),
        migrations.CreateModel(
            name="FeedSettingsEvent",
            fields=[
                ("pgh_id", models.AutoField(primary_key=True, serialize=False)),
                ("pgh_created_at", models.DateTimeField(auto_now_add=True)),
                ("pgh_label", models.TextField(help_text="The event label.")),
                (
                    "is_public",
                    models.BooleanField(
                        default=True, help_text="Tenants may find and subscribe it."
                    ),
                ),
                (
                    "is_approved",
                    models.BooleanField(
                        default=False,
                        help_text="Its signals are approved as they come; otherwise each waits for an operator.",
                    ),
                ),
                ("archived_at", models.DateTimeField(blank=True, null=True)),
            ],
            options={
                "abstract": False,
                "default_permissions": ("view",),
            },
        ),
        migrations.CreateModel(
            name="KillSwitchEvent",
            fields=[
                ("pgh_id", models.AutoField(primary_key=True, serialize=False)),
                ("pgh_created_at", models.DateTimeField(auto_now_add=True)),
                ("pgh_label", models.TextField(help_text="The event label.")),
                ("id", models.BigIntegerField()),
                (
                    "scope",
                    models.CharField(
                        choices=[
                            ("ALL", "All"),
                            ("FEED", "Feed"),
                            ("USER", "User"),
                            ("CONNECTION", "Connection"),
                        ],
                        max_length=10,
                    ),
                ),
                (
                    "mode",
                    models.CharField(
                        choices=[("REDUCING", "Exits only"), ("HALTED", "Nothing is sent")],
                        max_length=8,
                    ),
                ),
                ("reason", models.CharField(max_length=200)),
                ("set_at", models.DateTimeField(db_default=common.database.ClockTimestamp())),
                ("released_at", models.DateTimeField(blank=True, null=True)),
            ],
            options={
                "abstract": False,
                "default_permissions": ("view",),
            },
        ),
        migrations.CreateModel(
            name="SubscriptionEvent",
            fields=[
                ("pgh_id", models.AutoField(primary_key=True, serialize=False)),
                ("pgh_created_at", models.DateTimeField(auto_now_add=True)),
                ("pgh_label", models.TextField(help_text="The event label.")),
                ("id", models.BigIntegerField()),
                ("is_paused", models.BooleanField(default=False)),
                (
                    "expires_at",
                    models.DateTimeField(blank=True, help_text="Market clock.", null=True),
                ),
                ("multiplier", common.fields.AmountField(default=Decimal("1"))),
                (
                    "symbol_map",
                    models.JSONField(
                        blank=True,
                        default=dict,
                        help_text='Canonical pair to broker symbol: {"EUR/USD": "EURUSD.m"}',
                    ),
                ),
                (
                    "directions",
                    models.CharField(
                        choices=[("BOTH", "Both"), ("BUY", "Buys only"), ("SELL", "Sells only")],
                        default="BOTH",
                        max_length=4,
                    ),
                ),
                ("archived_at", models.DateTimeField(blank=True, null=True)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
            ],
            options={
                "abstract": False,
                "default_permissions": ("view",),
            },
        ),
        migrations.CreateModel(
            name="TradingPresetEvent",
            fields=[
                ("pgh_id", models.AutoField(primary_key=True, serialize=False)),
                ("pgh_created_at", models.DateTimeField(auto_now_add=True)),
                ("pgh_label", models.TextField(help_text="The event label.")),
                ("id", models.BigIntegerField()),
                ("name", models.CharField(max_length=100)),
                (
                    "sizing_mode",
                    models.CharField(
                        choices=[
                            ("FIXED", "Fixed quantity"),
                            ("PERCENT_BALANCE", "Percent of balance as notional"),
                            ("FIXED_AMOUNT", "Fixed amount as notional"),
                            ("RISK_PERCENT", "Percent of equity at risk"),
                        ],
                        default="RISK_PERCENT",
                        max_length=16,
                    ),
                ),
                (
                    "fixed_quantity",
                    common.fields.AmountField(blank=True, help_text="Base units.", null=True),
                ),
                ("percent_of_balance", common.fields.AmountField(blank=True, null=True)),
                (
                    "fixed_amount",
                    common.fields.AmountField(blank=True, help_text="Account currency.", null=True),
                ),
                (
                    "risk_percent",
                    common.fields.AmountField(
                        blank=True, help_text="Of equity, lost at the stop.", null=True
                    ),
                ),
                ("multiplier", common.fields.AmountField(default=Decimal("1"))),
                ("small_multiplier", common.fields.AmountField(default=Decimal("0.5"))),
                ("normal_multiplier", common.fields.AmountField(default=Decimal("1"))),
                ("large_multiplier", common.fields.AmountField(default=Decimal("2"))),
                (
                    "max_quantity",
                    common.fields.AmountField(blank=True, help_text="Base units.", null=True),
                ),
                ("max_open_positions", models.IntegerField(default=20)),
                (
                    "max_leverage",
                    common.fields.AmountField(
                        default=Decimal("30"), help_text="Open notional / equity."
                    ),
                ),
                ("max_portfolio_risk_percent", common.fields.AmountField(default=Decimal("10"))),
                ("max_slippage_pips", common.fields.AmountField(blank=True, null=True)),
                ("slippage_alert_threshold_pips", common.fields.AmountField(default=Decimal("5"))),
                ("max_signal_age_seconds", models.IntegerField(default=300)),
                (
                    "broker_holds_stops",
                    models.BooleanField(
                        default=True,
                        help_text="Stops and targets rest at the broker where it can hold them.",
                    ),
                ),
                (
                    "stuck_policy",
                    models.CharField(
                        choices=[
                            ("CANCEL", "Cancel at the broker"),
                            ("ESCALATE", "Tell the operators"),
                        ],
                        default="ESCALATE",
                        max_length=8,
                    ),
                ),
                (
                    "trading_day_zone",
                    models.CharField(
                        default="America/New_York",
                        help_text="A trading day ends at 17:00 there.",
                        max_length=64,
                    ),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True)),
            ],
            options={
                "abstract": False,
                "default_permissions": ("view",),
            },
        ),
        migrations.CreateModel(
            name="FeedSettings",
            fields=[],
            options={
                "proxy": True,
                "indexes": [],
                "constraints": [],
            },
            bases=("signals.feed",),
        ),
        migrations.AddField(
            model_name="executionconnection",
            name="credentials_changed_at",
            field=models.DateTimeField(
                blank=True, editable=False, help_text="Leaves a line in the audit trail.", null=True
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="dataconnection",
            trigger=pgtrigger.compiler.Trigger(
                name="insert_insert",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func='INSERT INTO "connections_dataconnectionevent" ("created_at", "id", "is_active", "kind", "name", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "settings", "user_id") VALUES (NEW."created_at", NEW."id", NEW."is_active", NEW."kind", NEW."name", _pgh_attach_context(), NOW(), \'insert\', NEW."id", NEW."settings", NEW."user_id"); RETURN NULL;',
                    hash="c17e3bb123506f0ff6029218789a9e6dfa41a6e7",
                    operation="INSERT",
                    pgid="pgtrigger_insert_insert_d0aaf",
                    table="connections_dataconnection",
                    when="AFTER",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="dataconnection",
            trigger=pgtrigger.compiler.Trigger(
                name="update_update",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    condition="WHEN (OLD.* IS DISTINCT FROM NEW.*)",
                    func='INSERT INTO "connections_dataconnectionevent" ("created_at", "id", "is_active", "kind", "name", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "settings", "user_id") VALUES (NEW."created_at", NEW."id", NEW."is_active", NEW."kind", NEW."name", _pgh_attach_context(), NOW(), \'update\', NEW."id", NEW."settings", NEW."user_id"); RETURN NULL;',
                    hash="47f029801183238e01f8f660dfb76460961bd8ae",
                    operation="UPDATE",
                    pgid="pgtrigger_update_update_e55b2",
                    table="connections_dataconnection",
                    when="AFTER",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="dataconnection",
            trigger=pgtrigger.compiler.Trigger(
                name="delete_delete",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func='INSERT INTO "connections_dataconnectionevent" ("created_at", "id", "is_active", "kind", "name", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "settings", "user_id") VALUES (OLD."created_at", OLD."id", OLD."is_active", OLD."kind", OLD."name", _pgh_attach_context(), NOW(), \'delete\', OLD."id", OLD."settings", OLD."user_id"); RETURN NULL;',
                    hash="c0619e806a7b8b5f779997506b9518b7ac1c95d7",
                    operation="DELETE",
                    pgid="pgtrigger_delete_delete_90e49",
                    table="connections_dataconnection",
                    when="AFTER",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="executionconnection",
            trigger=pgtrigger.compiler.Trigger(
                name="insert_insert",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func='INSERT INTO "connections_executionconnectionevent" ("account", "admin_id", "archived_at", "created_at", "credentials_changed_at", "data_connection_id", "exchange_name", "id", "instrument_book", "is_active", "is_paused", "name", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "preset_id", "settings", "type", "user_id") VALUES (NEW."account", NEW."admin_id", NEW."archived_at", NEW."created_at", NEW."credentials_changed_at", NEW."data_connection_id", NEW."exchange_name", NEW."id", NEW."instrument_book", NEW."is_active", NEW."is_paused", NEW."name", _pgh_attach_context(), NOW(), \'insert\', NEW."id", NEW."preset_id", NEW."settings", NEW."type", NEW."user_id"); RETURN NULL;',
                    hash="1bcadfa493d5a9db134628c85eabbdc323b5e516",
                    operation="INSERT",
                    pgid="pgtrigger_insert_insert_1d1a0",
                    table="connections_executionconnection",
                    when="AFTER",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="executionconnection",
            trigger=pgtrigger.compiler.Trigger(
                name="update_update",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    condition='WHEN (OLD."account" IS DISTINCT FROM (NEW."account") OR OLD."admin_id" IS DISTINCT FROM (NEW."admin_id") OR OLD."archived_at" IS DISTINCT FROM (NEW."archived_at") OR OLD."created_at" IS DISTINCT FROM (NEW."created_at") OR OLD."credentials_changed_at" IS DISTINCT FROM (NEW."credentials_changed_at") OR OLD."data_connection_id" IS DISTINCT FROM (NEW."data_connection_id") OR OLD."exchange_name" IS DISTINCT FROM (NEW."exchange_name") OR OLD."id" IS DISTINCT FROM (NEW."id") OR OLD."instrument_book" IS DISTINCT FROM (NEW."instrument_book") OR OLD."is_active" IS DISTINCT FROM (NEW."is_active") OR OLD."is_paused" IS DISTINCT FROM (NEW."is_paused") OR OLD."name" IS DISTINCT FROM (NEW."name") OR OLD."preset_id" IS DISTINCT FROM (NEW."preset_id") OR OLD."settings" IS DISTINCT FROM (NEW."settings") OR OLD."type" IS DISTINCT FROM (NEW."type") OR OLD."user_id" IS DISTINCT FROM (NEW."user_id"))',
                    func='INSERT INTO "connections_executionconnectionevent" ("account", "admin_id", "archived_at", "created_at", "credentials_changed_at", "data_connection_id", "exchange_name", "id", "instrument_book", "is_active", "is_paused", "name", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "preset_id", "settings", "type", "user_id") VALUES (NEW."account", NEW."admin_id", NEW."archived_at", NEW."created_at", NEW."credentials_changed_at", NEW."data_connection_id", NEW."exchange_name", NEW."id", NEW."instrument_book", NEW."is_active", NEW."is_paused", NEW."name", _pgh_attach_context(), NOW(), \'update\', NEW."id", NEW."preset_id", NEW."settings", NEW."type", NEW."user_id"); RETURN NULL;',
                    hash="860a5478aca1cdc7f15faf78df254a68dcfec313",
                    operation="UPDATE",
                    pgid="pgtrigger_update_update_fddda",
                    table="connections_executionconnection",
                    when="AFTER",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="executionconnection",
            trigger=pgtrigger.compiler.Trigger(
                name="delete_delete",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func='INSERT INTO "connections_executionconnectionevent" ("account", "admin_id", "archived_at", "created_at", "credentials_changed_at", "data_connection_id", "exchange_name", "id", "instrument_book", "is_active", "is_paused", "name", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "preset_id", "settings", "type", "user_id") VALUES (OLD."account", OLD."admin_id", OLD."archived_at", OLD."created_at", OLD."credentials_changed_at", OLD."data_connection_id", OLD."exchange_name", OLD."id", OLD."instrument_book", OLD."is_active", OLD."is_paused", OLD."name", _pgh_attach_context(), NOW(), \'delete\', OLD."id", OLD."preset_id", OLD."settings", OLD."type", OLD."user_id"); RETURN NULL;',
                    hash="f5a5464e465931a3b437deb6041a183b59f64b4a",
                    operation="DELETE",
                    pgid="pgtrigger_delete_delete_6f0b5",
                    table="connections_executionconnection",
                    when="AFTER",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="killswitch",
            trigger=pgtrigger.compiler.Trigger(
                name="insert_insert",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func='INSERT INTO "connections_killswitchevent" ("connection_id", "feed_id", "id", "mode", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "reason", "released_at", "scope", "set_at", "set_by_id", "user_id") VALUES (NEW."connection_id", NEW."feed_id", NEW."id", NEW."mode", _pgh_attach_context(), NOW(), \'insert\', NEW."id", NEW."reason", NEW."released_at", NEW."scope", NEW."set_at", NEW."set_by_id", NEW."user_id"); RETURN NULL;',
                    hash="b5f92e096d1bfd103d12faeb56df0cf9a0cc69f3",
                    operation="INSERT",
                    pgid="pgtrigger_insert_insert_bf93b",
                    table="connections_killswitch",
                    when="AFTER",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="killswitch",
            trigger=pgtrigger.compiler.Trigger(
                name="update_update",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    condition="WHEN (OLD.* IS DISTINCT FROM NEW.*)",
                    func='INSERT INTO "connections_killswitchevent" ("connection_id", "feed_id", "id", "mode", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "reason", "released_at", "scope", "set_at", "set_by_id", "user_id") VALUES (NEW."connection_id", NEW."feed_id", NEW."id", NEW."mode", _pgh_attach_context(), NOW(), \'update\', NEW."id", NEW."reason", NEW."released_at", NEW."scope", NEW."set_at", NEW."set_by_id", NEW."user_id"); RETURN NULL;',
                    hash="532a7ab5a51f53c44e9655ed708027f3ac905e61",
                    operation="UPDATE",
                    pgid="pgtrigger_update_update_4e4a2",
                    table="connections_killswitch",
                    when="AFTER",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="killswitch",
            trigger=pgtrigger.compiler.Trigger(
                name="delete_delete",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func='INSERT INTO "connections_killswitchevent" ("connection_id", "feed_id", "id", "mode", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "reason", "released_at", "scope", "set_at", "set_by_id", "user_id") VALUES (OLD."connection_id", OLD."feed_id", OLD."id", OLD."mode", _pgh_attach_context(), NOW(), \'delete\', OLD."id", OLD."reason", OLD."released_at", OLD."scope", OLD."set_at", OLD."set_by_id", OLD."user_id"); RETURN NULL;',
                    hash="ba791de88ef8588ed00a776adaa1ec913da451b4",
                    operation="DELETE",
                    pgid="pgtrigger_delete_delete_13039",
                    table="connections_killswitch",
                    when="AFTER",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="subscription",
            trigger=pgtrigger.compiler.Trigger(
                name="insert_insert",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func='INSERT INTO "connections_subscriptionevent" ("archived_at", "connection_id", "created_at", "directions", "expires_at", "feed_id", "id", "is_paused", "multiplier", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "symbol_map") VALUES (NEW."archived_at", NEW."connection_id", NEW."created_at", NEW."directions", NEW."expires_at", NEW."feed_id", NEW."id", NEW."is_paused", NEW."multiplier", _pgh_attach_context(), NOW(), \'insert\', NEW."id", NEW."symbol_map"); RETURN NULL;',
                    hash="0f72d4811a33b037147da937d2c605107f81a8b1",
                    operation="INSERT",
                    pgid="pgtrigger_insert_insert_811d8",
                    table="connections_subscription",
                    when="AFTER",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="subscription",
            trigger=pgtrigger.compiler.Trigger(
                name="update_update",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    condition="WHEN (OLD.* IS DISTINCT FROM NEW.*)",
                    func='INSERT INTO "connections_subscriptionevent" ("archived_at", "connection_id", "created_at", "directions", "expires_at", "feed_id", "id", "is_paused", "multiplier", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "symbol_map") VALUES (NEW."archived_at", NEW."connection_id", NEW."created_at", NEW."directions", NEW."expires_at", NEW."feed_id", NEW."id", NEW."is_paused", NEW."multiplier", _pgh_attach_context(), NOW(), \'update\', NEW."id", NEW."symbol_map"); RETURN NULL;',
                    hash="6bd2cf03544ffb1859dd21e70d01a6b0fc65d9ea",
                    operation="UPDATE",
                    pgid="pgtrigger_update_update_6f1e1",
                    table="connections_subscription",
                    when="AFTER",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="subscription",
            trigger=pgtrigger.compiler.Trigger(
                name="delete_delete",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func='INSERT INTO "connections_subscriptionevent" ("archived_at", "connection_id", "created_at", "directions", "expires_at", "feed_id", "id", "is_paused", "multiplier", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "symbol_map") VALUES (OLD."archived_at", OLD."connection_id", OLD."created_at", OLD."directions", OLD."expires_at", OLD."feed_id", OLD."id", OLD."is_paused", OLD."multiplier", _pgh_attach_context(), NOW(), \'delete\', OLD."id", OLD."symbol_map"); RETURN NULL;',
                    hash="c8a128b2258da993a09acf61b92a90508c63a752",
                    operation="DELETE",
                    pgid="pgtrigger_delete_delete_00f0e",
                    table="connections_subscription",
                    when="AFTER",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="tradingpreset",
            trigger=pgtrigger.compiler.Trigger(
                name="insert_insert",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func='INSERT INTO "connections_tradingpresetevent" ("broker_holds_stops", "created_at", "fixed_amount", "fixed_quantity", "id", "large_multiplier", "max_leverage", "max_open_positions", "max_portfolio_risk_percent", "max_quantity", "max_signal_age_seconds", "max_slippage_pips", "multiplier", "name", "normal_multiplier", "percent_of_balance", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "risk_percent", "sizing_mode", "slippage_alert_threshold_pips", "small_multiplier", "stuck_policy", "trading_day_zone", "user_id") VALUES (NEW."broker_holds_stops", NEW."created_at", NEW."fixed_amount", NEW."fixed_quantity", NEW."id", NEW."large_multiplier", NEW."max_leverage", NEW."max_open_positions", NEW."max_portfolio_risk_percent", NEW."max_quantity", NEW."max_signal_age_seconds", NEW."max_slippage_pips", NEW."multiplier", NEW."name", NEW."normal_multiplier", NEW."percent_of_balance", _pgh_attach_context(), NOW(), \'insert\', NEW."id", NEW."risk_percent", NEW."sizing_mode", NEW."slippage_alert_threshold_pips", NEW."small_multiplier", NEW."stuck_policy", NEW."trading_day_zone", NEW."user_id"); RETURN NULL;',
                    hash="42c3b7b255f53059b22d89f35b1d902e0d8cd2ef",
                    operation="INSERT",
                    pgid="pgtrigger_insert_insert_6901b",
                    table="connections_tradingpreset",
                    when="AFTER",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="tradingpreset",
            trigger=pgtrigger.compiler.Trigger(
                name="update_update",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    condition="WHEN (OLD.* IS DISTINCT FROM NEW.*)",
                    func='INSERT INTO "connections_tradingpresetevent" ("broker_holds_stops", "created_at", "fixed_amount", "fixed_quantity", "id", "large_multiplier", "max_leverage", "max_open_positions", "max_portfolio_risk_percent", "max_quantity", "max_signal_age_seconds", "max_slippage_pips", "multiplier", "name", "normal_multiplier", "percent_of_balance", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "risk_percent", "sizing_mode", "slippage_alert_threshold_pips", "small_multiplier", "stuck_policy", "trading_day_zone", "user_id") VALUES (NEW."broker_holds_stops", NEW."created_at", NEW."fixed_amount", NEW."fixed_quantity", NEW."id", NEW."large_multiplier", NEW."max_leverage", NEW."max_open_positions", NEW."max_portfolio_risk_percent", NEW."max_quantity", NEW."max_signal_age_seconds", NEW."max_slippage_pips", NEW."multiplier", NEW."name", NEW."normal_multiplier", NEW."percent_of_balance", _pgh_attach_context(), NOW(), \'update\', NEW."id", NEW."risk_percent", NEW."sizing_mode", NEW."slippage_alert_threshold_pips", NEW."small_multiplier", NEW."stuck_policy", NEW."trading_day_zone", NEW."user_id"); RETURN NULL;',
                    hash="820a085e3d8752eec6915ae2251a891ad709e26b",
                    operation="UPDATE",
                    pgid="pgtrigger_update_update_c8637",
                    table="connections_tradingpreset",
                    when="AFTER",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="tradingpreset",
            trigger=pgtrigger.compiler.Trigger(
                name="delete_delete",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func='INSERT INTO "connections_tradingpresetevent" ("broker_holds_stops", "created_at", "fixed_amount", "fixed_quantity", "id", "large_multiplier", "max_leverage", "max_open_positions", "max_portfolio_risk_percent", "max_quantity", "max_signal_age_seconds", "max_slippage_pips", "multiplier", "name", "normal_multiplier", "percent_of_balance", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "risk_percent", "sizing_mode", "slippage_alert_threshold_pips", "small_multiplier", "stuck_policy", "trading_day_zone", "user_id") VALUES (OLD."broker_holds_stops", OLD."created_at", OLD."fixed_amount", OLD."fixed_quantity", OLD."id", OLD."large_multiplier", OLD."max_leverage", OLD."max_open_positions", OLD."max_portfolio_risk_percent", OLD."max_quantity", OLD."max_signal_age_seconds", OLD."max_slippage_pips", OLD."multiplier", OLD."name", OLD."normal_multiplier", OLD."percent_of_balance", _pgh_attach_context(), NOW(), \'delete\', OLD."id", OLD."risk_percent", OLD."sizing_mode", OLD."slippage_alert_threshold_pips", OLD."small_multiplier", OLD."stuck_policy", OLD."trading_day_zone", OLD."user_id"); RETURN NULL;',
                    hash="247c839ebbcfb46651c32aaffc3767581504660a",
                    operation="DELETE",
                    pgid="pgtrigger_delete_delete_8a107",
                    table="connections_tradingpreset",
                    when="AFTER",
                ),
            ),
        ),
        migrations.AddField(
            model_name="dataconnectionevent",
            name="pgh_context",
            field=models.ForeignKey(
                db_constraint=False,
                null=True,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="+",
                to="pghistory.context",
            ),
        ),
        migrations.AddField(
            model_name="dataconnectionevent",
            name="pgh_obj",
            field=models.ForeignKey(
                db_constraint=False,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="events",
                to="connections.dataconnection",
            ),
        ),
        migrations.AddField(
            model_name="dataconnectionevent",
            name="user",
            field=models.ForeignKey(
                blank=True,
                db_constraint=False,
                null=True,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="+",
                related_query_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddField(
            model_name="executionconnectionevent",
            name="admin",
            field=models.ForeignKey(
                blank=True,
                db_constraint=False,
                help_text="An administrator's own account takes all published signals.",
                null=True,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="+",
                related_query_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddField(
            model_name="executionconnectionevent",
            name="data_connection",
            field=models.ForeignKey(
                blank=True,
                db_constraint=False,
                null=True,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="+",
                related_query_name="+",
                to="connections.dataconnection",
            ),
        ),
        migrations.AddField(
            model_name="executionconnectionevent",
            name="pgh_context",
            field=models.ForeignKey(
                db_constraint=False,
                null=True,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="+",
                to="pghistory.context",
            ),
        ),
        migrations.AddField(
            model_name="executionconnectionevent",
            name="pgh_obj",
            field=models.ForeignKey(
                db_constraint=False,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="events",
                to="connections.executionconnection",
            ),
        ),
        migrations.AddField(
            model_name="executionconnectionevent",
            name="preset",
            field=models.ForeignKey(
                blank=True,
                db_constraint=False,
                null=True,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="+",
                related_query_name="+",
                to="connections.tradingpreset",
            ),
        ),
        migrations.AddField(
            model_name="executionconnectionevent",
            name="user",
            field=models.ForeignKey(
                blank=True,
                db_constraint=False,
                null=True,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="+",
                related_query_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddField(
            model_name="feedsettingsevent",
            name="owner",
            field=models.ForeignKey(
                db_constraint=False,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="+",
                related_query_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddField(
            model_name="feedsettingsevent",
            name="pgh_context",
            field=models.ForeignKey(
                db_constraint=False,
                null=True,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="+",
                to="pghistory.context",
            ),
        ),
        migrations.AddField(
            model_name="killswitchevent",
            name="connection",
            field=models.ForeignKey(
                blank=True,
                db_constraint=False,
                null=True,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="+",
                related_query_name="+",
                to="connections.executionconnection",
            ),
        ),
        migrations.AddField(
            model_name="killswitchevent",
            name="feed",
            field=models.ForeignKey(
                blank=True,
                db_constraint=False,
                null=True,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="+",
                related_query_name="+",
                to="signals.feed",
            ),
        ),
        migrations.AddField(
            model_name="killswitchevent",
            name="pgh_context",
            field=models.ForeignKey(
                db_constraint=False,
                null=True,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="+",
                to="pghistory.context",
            ),
        ),
        migrations.AddField(
            model_name="killswitchevent",
            name="pgh_obj",
            field=models.ForeignKey(
                db_constraint=False,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="events",
                to="connections.killswitch",
            ),
        ),
        migrations.AddField(
            model_name="killswitchevent",
            name="set_by",
            field=models.ForeignKey(
                db_constraint=False,
                null=True,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="+",
                related_query_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddField(
            model_name="killswitchevent",
            name="user",
            field=models.ForeignKey(
                blank=True,
                db_constraint=False,
                null=True,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="+",
                related_query_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddField(
            model_name="subscriptionevent",
            name="connection",
            field=models.ForeignKey(
                db_constraint=False,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="+",
                related_query_name="+",
                to="connections.executionconnection",
            ),
        ),
        migrations.AddField(
            model_name="subscriptionevent",
            name="feed",
            field=models.ForeignKey(
                db_constraint=False,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="+",
                related_query_name="+",
                to="signals.feed",
            ),
        ),
        migrations.AddField(
            model_name="subscriptionevent",
            name="pgh_context",
            field=models.ForeignKey(
                db_constraint=False,
                null=True,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="+",
                to="pghistory.context",
            ),
        ),
        migrations.AddField(
            model_name="subscriptionevent",
            name="pgh_obj",
            field=models.ForeignKey(
                db_constraint=False,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="events",
                to="connections.subscription",
            ),
        ),
        migrations.AddField(
            model_name="tradingpresetevent",
            name="pgh_context",
            field=models.ForeignKey(
                db_constraint=False,
                null=True,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="+",
                to="pghistory.context",
            ),
        ),
        migrations.AddField(
            model_name="tradingpresetevent",
            name="pgh_obj",
            field=models.ForeignKey(
                db_constraint=False,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="events",
                to="connections.tradingpreset",
            ),
        ),
        migrations.AddField(
            model_name="tradingpresetevent",
            name="user",
            field=models.ForeignKey(
                blank=True,
                db_constraint=False,
                help_text="Empty: an operators' preset that everyone may use.",
                null=True,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="+",
                related_query_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddField(
            model_name="feedsettingsevent",
            name="pgh_obj",
            field=models.ForeignKey(
                db_constraint=False,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="owner_is_public_is_approved_archived_at_events",
                to="connections.feedsettings",
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="feedsettings",
            trigger=pgtrigger.compiler.Trigger(
                name="insert_insert",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func='INSERT INTO "connections_feedsettingsevent" ("archived_at", "is_approved", "is_public", "owner_id", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id") VALUES (NEW."archived_at", NEW."is_approved", NEW."is_public", NEW."owner_id", _pgh_attach_context(), NOW(), \'insert\', NEW."id"); RETURN NULL;',
                    hash="20664b51e5a7545589ec4ee6e871b9a828c78641",
                    operation="INSERT",
                    pgid="pgtrigger_insert_insert_d72b0",
                    table="signals_feed",
                    when="AFTER",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="feedsettings",
            trigger=pgtrigger.compiler.Trigger(
                name="update_update",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    condition='WHEN (OLD."archived_at" IS DISTINCT FROM (NEW."archived_at") OR OLD."is_approved" IS DISTINCT FROM (NEW."is_approved") OR OLD."is_public" IS DISTINCT FROM (NEW."is_public") OR OLD."owner_id" IS DISTINCT FROM (NEW."owner_id"))',
                    func='INSERT INTO "connections_feedsettingsevent" ("archived_at", "is_approved", "is_public", "owner_id", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id") VALUES (NEW."archived_at", NEW."is_approved", NEW."is_public", NEW."owner_id", _pgh_attach_context(), NOW(), \'update\', NEW."id"); RETURN NULL;',
                    hash="f708e7a6d11e08e85662d813caa489e0033c99ba",
                    operation="UPDATE",
                    pgid="pgtrigger_update_update_601b5",
                    table="signals_feed",
                    when="AFTER",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="feedsettings",
            trigger=pgtrigger.compiler.Trigger(
                name="delete_delete",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func='INSERT INTO "connections_feedsettingsevent" ("archived_at", "is_approved", "is_public", "owner_id", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id") VALUES (OLD."archived_at", OLD."is_approved", OLD."is_public", OLD."owner_id", _pgh_attach_context(), NOW(), \'delete\', OLD."id"); RETURN NULL;',
                    hash="b61d2907aadc95f37fc7adbafb06d043a9dbec75",
                    operation="DELETE",
                    pgid="pgtrigger_delete_delete_a30d6",
                    table="signals_feed",
                    when="AFTER",
                ),
            ),
        ),
        *history_rows("connections_dataconnectionevent"),
        *history_rows("connections_executionconnectionevent"),
        *history_rows("connections_feedsettingsevent"),
        *history_rows("connections_killswitchevent"),
        *history_rows("connections_subscriptionevent"),
        *history_rows("connections_tradingpresetevent"),
    ]
