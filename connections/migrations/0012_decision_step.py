"""Decision providers and news calendars."""

import uuid
from decimal import Decimal

import django.contrib.postgres.fields
import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

import common.fields
from common.audit_trail_sql import track
from common.migration_sql import run_file
from common.row_security import MINE, SIGNED_IN, tenant_rows

# The operators' are for all users.
SEEN = f"{MINE} OR (user_id IS NULL AND {SIGNED_IN})"
MY_CALENDAR = f"calendar_id IN (SELECT own.id FROM connections_newscalendar own WHERE own.{MINE})"
SEEN_CALENDAR = (
    f"{MY_CALENDAR} OR calendar_id IN (SELECT seen.id FROM connections_newscalendar seen)"
)


class Migration(migrations.Migration):
    dependencies = [
        ("connections", "0011_correlation_warning"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="DecisionProvider",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("key", models.UUIDField(default=uuid.uuid4, editable=False, unique=True)),
                ("name", models.CharField(max_length=100)),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("RULES", "Rules"),
                            ("HTTP", "Your own web service"),
                            ("PACKAGE", "Installed package"),
                        ],
                        default="RULES",
                        max_length=7,
                    ),
                ),
                (
                    "on_failure",
                    models.CharField(
                        choices=[
                            ("CLOSED", "Deny the entry"),
                            ("OPEN", "Trade as if there were no provider"),
                        ],
                        default="CLOSED",
                        help_text="If there is no valid answer in time, or a rule lacks its data.",
                        max_length=6,
                    ),
                ),
                (
                    "timeout_seconds",
                    common.fields.AmountField(
                        default=Decimal("2"), help_text="How long an answer may take: 0.1 to 5 s."
                    ),
                ),
                (
                    "max_age_seconds",
                    models.IntegerField(
                        default=10,
                        help_text="An answer that is older when the order is sent is asked for again.",
                    ),
                ),
                (
                    "candle_minutes",
                    models.IntegerField(
                        default=15,
                        help_text="Length of a candle of average true range (ATR) and trend.",
                    ),
                ),
                (
                    "broken_rule_factor",
                    common.fields.AmountField(
                        default=Decimal("0"),
                        help_text="What a broken rule makes of the size: 0 rejects the entry, 0.5 is half.",
                    ),
                ),
                (
                    "max_spread",
                    common.fields.AmountField(
                        blank=True, help_text="In its unit. Empty: no rule.", null=True
                    ),
                ),
                (
                    "max_spread_unit",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("PIPS", "Pips"),
                            ("TICKS", "Ticks"),
                            ("BPS", "Basis points"),
                            ("PERCENT", "Percent"),
                        ],
                        default="",
                        help_text="Empty: pips for currencies and metals, basis points (0.01 %) for the rest.",
                        max_length=7,
                    ),
                ),
                (
                    "max_spread_percentile",
                    common.fields.AmountField(
                        blank=True,
                        help_text="Percent of the last 24 hours' minutes that had no wider spread.",
                        null=True,
                    ),
                ),
                (
                    "min_atr_percent",
                    common.fields.AmountField(
                        blank=True, help_text="Of 14 candles, in percent of the price.", null=True
                    ),
                ),
                (
                    "max_atr_percent",
                    common.fields.AmountField(
                        blank=True, help_text="The same, at most.", null=True
                    ),
                ),
                (
                    "sessions",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(max_length=19),
                        blank=True,
                        default=list,
                        help_text="Such as MON-FRI 08:00-17:00; separated by commas. Empty: always.",
                        size=None,
                    ),
                ),
                (
                    "session_zone",
                    models.CharField(
                        default="UTC", help_text="The time zone of the sessions.", max_length=64
                    ),
                ),
                (
                    "news_impact",
                    models.CharField(
                        choices=[("LOW", "Low"), ("MEDIUM", "Medium"), ("HIGH", "High")],
                        default="HIGH",
                        help_text="Events of this impact and above count.",
                        max_length=6,
                    ),
                ),
                ("news_minutes_before", models.IntegerField(default=15)),
                ("news_minutes_after", models.IntegerField(default=15)),
                (
                    "url",
                    models.CharField(
                        blank=True, default="", help_text="https only.", max_length=500
                    ),
                ),
                ("secret_sealed", models.BinaryField(blank=True, null=True)),
                (
                    "entry_point",
                    models.CharField(
                        blank=True,
                        default="",
                        help_text="Its name; `manage.py doctor` lists them.",
                        max_length=100,
                    ),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                (
                    "user",
                    models.ForeignKey(
                        blank=True,
                        help_text="Empty: an operators' provider that all users may use.",
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "ordering": ("name",),
            },
        ),
        migrations.AddField(
            model_name="tradingpreset",
            name="decision_provider",
            field=models.ForeignKey(
                blank=True,
                help_text="May reject or scale each entry before it is sent. Empty: none.",
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="presets",
                to="connections.decisionprovider",
            ),
        ),
        migrations.CreateModel(
            name="NewsCalendar",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("name", models.CharField(max_length=100)),
                ("starts_at", models.DateTimeField(editable=False, null=True)),
                ("ends_at", models.DateTimeField(editable=False, null=True)),
                ("event_count", models.IntegerField(db_default=0, default=0, editable=False)),
                ("imported_at", models.DateTimeField(editable=False, null=True)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                (
                    "user",
                    models.ForeignKey(
                        blank=True,
                        help_text="Empty: an operators' calendar that all users may use.",
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "ordering": ("name",),
            },
        ),
        migrations.AddField(
            model_name="decisionprovider",
            name="calendar",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="providers",
                to="connections.newscalendar",
            ),
        ),
        migrations.CreateModel(
            name="NewsEvent",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("at", models.DateTimeField()),
                ("currency", models.CharField(max_length=10)),
                (
                    "impact",
                    models.CharField(
                        choices=[("LOW", "Low"), ("MEDIUM", "Medium"), ("HIGH", "High")],
                        max_length=6,
                    ),
                ),
                ("title", models.CharField(max_length=200)),
                (
                    "calendar",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="events",
                        to="connections.newscalendar",
                    ),
                ),
            ],
            options={
                "ordering": ("at", "id"),
            },
        ),
        migrations.AddConstraint(
            model_name="decisionprovider",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("timeout_seconds__gte", Decimal("0.1")), ("timeout_seconds__lte", 5)
                ),
                name="decision_timeout_range",
                violation_error_message="The time-out is 0.1 to 5 seconds.",
            ),
        ),
        migrations.AddConstraint(
            model_name="decisionprovider",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("max_age_seconds__gt", models.F("timeout_seconds")),
                    ("max_age_seconds__lte", 60),
                ),
                name="decision_age_range",
                violation_error_message="The maximum age is above the time-out and at most 60 seconds.",
            ),
        ),
        migrations.AddConstraint(
            model_name="decisionprovider",
            constraint=models.CheckConstraint(
                condition=models.Q(("candle_minutes__in", (1, 5, 15, 30, 60, 240))),
                name="decision_candle_minutes",
                violation_error_message="A candle has 1, 5, 15, 30, 60 or 240 minutes.",
            ),
        ),
        migrations.AddConstraint(
            model_name="decisionprovider",
            constraint=models.CheckConstraint(
                condition=models.Q(("broken_rule_factor__gte", 0), ("broken_rule_factor__lt", 1)),
                name="decision_factor_range",
                violation_error_message="The factor of a broken rule is 0 or more, and below 1.",
            ),
        ),
        migrations.AddConstraint(
            model_name="decisionprovider",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("max_spread__isnull", True), ("max_spread__gte", 0), _connector="OR"),
                    models.Q(
                        ("max_spread_percentile__isnull", True),
                        models.Q(
                            ("max_spread_percentile__gte", 0), ("max_spread_percentile__lte", 100)
                        ),
                        _connector="OR",
                    ),
                    models.Q(
                        ("min_atr_percent__isnull", True),
                        ("min_atr_percent__gte", 0),
                        _connector="OR",
                    ),
                    models.Q(
                        ("max_atr_percent__isnull", True),
                        ("max_atr_percent__gt", 0),
                        _connector="OR",
                    ),
                ),
                name="decision_bounds_gte_0",
                violation_error_message="Spread and ATR bounds are 0 or more, or empty; a percentile is at most 100.",
            ),
        ),
        migrations.AddConstraint(
            model_name="decisionprovider",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("min_atr_percent__isnull", True),
                    ("max_atr_percent__isnull", True),
                    ("min_atr_percent__lte", models.F("max_atr_percent")),
                    _connector="OR",
                ),
                name="decision_atr_in_order",
                violation_error_message="The minimum of the ATR is not above its maximum.",
            ),
        ),
        migrations.AddConstraint(
            model_name="decisionprovider",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("news_minutes_after__gte", 0),
                    ("news_minutes_after__lte", 1440),
                    ("news_minutes_before__gte", 0),
                    ("news_minutes_before__lte", 1440),
                ),
                name="decision_news_minutes",
                violation_error_message="Minutes before and after news are 0 to 1440.",
            ),
        ),
        migrations.AddConstraint(
            model_name="decisionprovider",
            constraint=models.CheckConstraint(
                condition=models.Q(("sessions__len__lte", 50)),
                name="decision_sessions_count",
                violation_error_message="At most 50 sessions.",
            ),
        ),
        migrations.AddConstraint(
            model_name="decisionprovider",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("kind", "HTTP"), _negated=True),
                    models.Q(
                        models.Q(("url", ""), _negated=True), ("secret_sealed__isnull", False)
                    ),
                    _connector="OR",
                ),
                name="decision_http_has_url",
                violation_error_message="A web service needs its URL and its secret.",
            ),
        ),
        migrations.AddConstraint(
            model_name="decisionprovider",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("kind", "PACKAGE"), _negated=True),
                    models.Q(("entry_point", ""), _negated=True),
                    _connector="OR",
                ),
                name="decision_package_has_name",
                violation_error_message="An installed package needs its entry point.",
            ),
        ),
        migrations.AddIndex(
            model_name="newsevent",
            index=models.Index(fields=["calendar", "at"], name="news_event_of_calendar"),
        ),
        tenant_rows("connections_decisionprovider", MINE, read=SEEN),
        tenant_rows("connections_newscalendar", MINE, read=SEEN),
        tenant_rows("connections_newsevent", MY_CALENDAR, read=SEEN_CALENDAR),
        run_file(__file__, "decision_step.sql"),
        track("connections_decisionprovider", secrets=("secret_sealed",)),
        track("connections_newscalendar"),
    ]
