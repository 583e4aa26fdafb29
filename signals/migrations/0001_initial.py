"""Feeds, their alert addresses, signals, and what approves them.

Who reaches them depends on subscriptions: 0002_row_security.py."""

from decimal import Decimal

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import migrations, models

from common.db_functions import ClockTimestamp
from common.fields import AmountField
from common.migration_sql import run_file

# Django's CheckConstraint cannot compare with all elements of an array.
ENTRY = "CASE order_type WHEN 'STOP' THEN stop_price ELSE open_price END"
LEVELS = f"""
ALTER TABLE signals_signal ADD CONSTRAINT levels_on_the_right_side CHECK (
  action <> 'OPEN' OR CASE direction
    WHEN 'BUY' THEN (sl IS NULL OR coalesce(sl < ({ENTRY}), true))
      AND coalesce(({ENTRY}) < ALL (target_prices), true) AND coalesce(sl < ALL (target_prices), true)
    WHEN 'SELL' THEN (sl IS NULL OR coalesce(sl > ({ENTRY}), true))
      AND coalesce(({ENTRY}) > ALL (target_prices), true) AND coalesce(sl > ALL (target_prices), true)
  END),
  ADD CONSTRAINT targets_have_fractions CHECK (
    cardinality(target_prices) = cardinality(target_fractions)
    AND 0 < ALL (target_fractions) AND 1 >= ALL (target_fractions) AND 0 < ALL (target_prices))
"""


class Migration(migrations.Migration):
    initial = True
    dependencies = [("users", "0001_initial")]

    operations = [
        migrations.CreateModel(
            name="Feed",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("slug", models.SlugField(max_length=60, unique=True)),
                ("name", models.CharField(max_length=120)),
                ("description", models.TextField(blank=True)),
                (
                    "owner",
                    models.ForeignKey(
                        on_delete=models.PROTECT, related_name="feeds", to=settings.AUTH_USER_MODEL
                    ),
                ),
                (
                    "is_public",
                    models.BooleanField(
                        default=True, help_text="Tenants may find it and subscribe to it."
                    ),
                ),
                (
                    "is_approved",
                    models.BooleanField(
                        default=False,
                        help_text="Its signals need no further approval; otherwise each waits for an operator.",
                    ),
                ),
                (
                    "approved_by_owner",
                    models.BooleanField(
                        db_default=False,
                        default=False,
                        editable=False,
                        help_text="The approval is the owner's own: it covers the owner's accounts only.",
                    ),
                ),
                ("archived_at", models.DateTimeField(blank=True, null=True)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
            ],
            options={
                "ordering": ("name",),
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            ("approved_by_owner", False),
                            models.Q(("is_approved", True), ("is_public", False)),
                            _connector="OR",
                        ),
                        name="own_approval_is_private",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="FeedToken",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "feed",
                    models.ForeignKey(
                        on_delete=models.CASCADE, related_name="tokens", to="signals.feed"
                    ),
                ),
                ("name", models.CharField(default="alerts", max_length=100)),
                ("prefix", models.CharField(max_length=12, unique=True)),
                ("secret_hash", models.CharField(max_length=64)),
                (
                    "signing_key",
                    models.CharField(
                        blank=True,
                        default="",
                        editable=False,
                        help_text="Alerts must be signed with it. It is of no use without the token itself.",
                        max_length=64,
                    ),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("expires_at", models.DateTimeField(blank=True, null=True)),
                ("revoked_at", models.DateTimeField(blank=True, null=True)),
                (
                    "made_with",
                    models.ForeignKey(
                        blank=True,
                        editable=False,
                        help_text="The API key that it was made with: it opens nothing once that is revoked.",
                        null=True,
                        on_delete=models.CASCADE,
                        related_name="+",
                        to="users.apikey",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="ReceivedAlert",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "feed",
                    models.ForeignKey(
                        on_delete=models.CASCADE, related_name="received_alerts", to="signals.feed"
                    ),
                ),
                ("key", models.CharField(max_length=64)),
                ("pair", models.CharField(blank=True, db_default="", default="", max_length=20)),
                (
                    "change",
                    models.CharField(
                        help_text="entry, add, reduce, reverse, flat or close; open or modify of a signal.",
                        max_length=7,
                    ),
                ),
                (
                    "ended_side",
                    models.CharField(
                        blank=True,
                        db_default="",
                        default="",
                        help_text="Side of the earlier trades that it ended or made smaller: BUY, SELL, BOTH.",
                        max_length=4,
                    ),
                ),
                ("summary", models.CharField(max_length=300)),
                (
                    "signal_ids",
                    ArrayField(base_field=models.BigIntegerField(), default=list, size=None),
                ),
                ("sent_at", models.DateTimeField(help_text="By its sender's clock.", null=True)),
                ("received_at", models.DateTimeField(db_default=ClockTimestamp())),
            ],
            options={
                "indexes": [
                    models.Index(fields=["feed", "key"], name="received_alert_key"),
                    models.Index(
                        fields=["feed", "pair", "sent_at"], name="received_alert_sequence"
                    ),
                    models.Index(fields=["received_at"], name="received_alert_received"),
                ]
            },
        ),
        migrations.CreateModel(
            name="Signal",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "feed",
                    models.ForeignKey(
                        on_delete=models.PROTECT, related_name="signals", to="signals.feed"
                    ),
                ),
                (
                    "action",
                    models.CharField(
                        choices=[("OPEN", "Open"), ("MODIFY", "Modify"), ("CLOSE", "Close")],
                        default="OPEN",
                        max_length=6,
                    ),
                ),
                (
                    "refers_to",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=models.PROTECT,
                        related_name="followers",
                        to="signals.signal",
                    ),
                ),
                (
                    "currency_pair",
                    models.CharField(help_text="Canonical, for example EUR/USD.", max_length=20),
                ),
                (
                    "direction",
                    models.CharField(choices=[("BUY", "Buy"), ("SELL", "Sell")], max_length=4),
                ),
                (
                    "order_type",
                    models.CharField(
                        choices=[("MARKET", "Market"), ("LIMIT", "Limit"), ("STOP", "Stop")],
                        default="MARKET",
                        max_length=6,
                    ),
                ),
                (
                    "open_price",
                    AmountField(
                        blank=True,
                        help_text="Limit price; for market orders the provider's price.",
                        null=True,
                    ),
                ),
                (
                    "stop_price",
                    AmountField(blank=True, help_text="Trigger of a stop order.", null=True),
                ),
                ("sl", AmountField(blank=True, null=True, verbose_name="stop loss")),
                (
                    "target_prices",
                    ArrayField(base_field=AmountField(), blank=True, default=list, size=None),
                ),
                (
                    "target_fractions",
                    ArrayField(base_field=AmountField(), blank=True, default=list, size=None),
                ),
                (
                    "close_fraction",
                    AmountField(
                        default=Decimal("1"), help_text="CLOSE: the share of what is open, 1 = all."
                    ),
                ),
                (
                    "time_in_force",
                    models.CharField(
                        choices=[
                            ("GTC", "Good till cancelled"),
                            ("DAY", "Day"),
                            ("IOC", "Immediate or cancel"),
                            ("FOK", "Fill or kill"),
                        ],
                        default="GTC",
                        max_length=3,
                    ),
                ),
                ("valid_until", models.DateTimeField(blank=True, null=True)),
                (
                    "max_slippage_pips",
                    AmountField(
                        blank=True, help_text="In its unit.", null=True, verbose_name="max slippage"
                    ),
                ),
                (
                    "max_slippage_unit",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("PIPS", "Pips"),
                            ("TICKS", "Ticks"),
                            ("BPS", "Basis points"),
                            ("PERCENT", "Percent"),
                        ],
                        db_default="",
                        default="",
                        help_text="Empty: pips of currencies and metals, basis points (0.01 %) of all else.",
                        max_length=7,
                    ),
                ),
                ("strategy_id", models.CharField(blank=True, max_length=64)),
                ("trade_plan_id", models.CharField(blank=True, max_length=64)),
                (
                    "risk_category",
                    models.CharField(
                        choices=[("small", "Small"), ("normal", "Normal"), ("large", "Large")],
                        default="normal",
                        max_length=6,
                    ),
                ),
                ("provider_quantity", AmountField(blank=True, help_text="Base units.", null=True)),
                ("provider_equity", AmountField(blank=True, null=True)),
                ("external_id", models.CharField(blank=True, max_length=100, null=True)),
                ("content_hash", models.CharField(blank=True, max_length=64)),
                (
                    "origin",
                    models.CharField(
                        choices=[
                            ("HAND", "By hand"),
                            ("API", "API"),
                            ("ALERT", "Alert"),
                            ("FILE", "File"),
                            ("DRIFT", "Adopted from a broker"),
                        ],
                        default="HAND",
                        max_length=5,
                    ),
                ),
                ("note", models.CharField(blank=True, max_length=500)),
                (
                    "created_by",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=models.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "approval",
                    models.CharField(
                        choices=[
                            ("PENDING", "Pending"),
                            ("APPROVED", "Approved"),
                            ("REJECTED", "Rejected"),
                        ],
                        default="PENDING",
                        max_length=8,
                    ),
                ),
                (
                    "approved_by",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=models.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                ("approved_at", models.DateTimeField(blank=True, null=True)),
                (
                    "published_by",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=models.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                ("published_at", models.DateTimeField(blank=True, null=True)),
                (
                    "cancelled_by",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=models.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                ("cancelled_at", models.DateTimeField(blank=True, null=True)),
                ("candidate_count", models.IntegerField(blank=True, null=True)),
                (
                    "reaches_admins",
                    models.BooleanField(
                        db_default=True,
                        default=True,
                        editable=False,
                        help_text="Whether its feed did when it was published.",
                    ),
                ),
                (
                    "owner_only",
                    models.BooleanField(
                        db_default=False,
                        default=False,
                        editable=False,
                        help_text="When it was published, only its feed's owner had approved it, for the owner's own accounts.",
                    ),
                ),
                ("created_at", models.DateTimeField(db_default=ClockTimestamp())),
            ],
            options={
                "ordering": ("-id",),
                "indexes": [
                    models.Index(fields=["feed", "-published_at"], name="signal_feed_published"),
                    models.Index(fields=["refers_to"], name="signal_refers_to"),
                    models.Index(
                        condition=models.Q(("action", "OPEN"), ("published_at__isnull", False)),
                        fields=["feed", "currency_pair", "direction", "-published_at"],
                        name="signal_opened_trades",
                    ),
                    models.Index(
                        condition=models.Q(("action", "CLOSE"), ("published_at__isnull", False)),
                        fields=["published_at"],
                        name="signal_published_closes",
                    ),
                ],
                "constraints": [
                    models.UniqueConstraint(fields=("feed", "external_id"), name="one_external_id"),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("open_price__isnull", True), ("open_price__gt", 0), _connector="OR"
                        ),
                        name="open_price_gt_0",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("stop_price__isnull", True), ("stop_price__gt", 0), _connector="OR"
                        ),
                        name="stop_price_gt_0",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("sl__isnull", True), ("sl__gt", 0), _connector="OR"),
                        name="sl_gt_0",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("close_fraction__gt", 0), ("close_fraction__lte", 1)),
                        name="close_fraction_0_1",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("max_slippage_pips__isnull", True),
                            ("max_slippage_pips__gte", 0),
                            _connector="OR",
                        ),
                        name="signal_slippage_gte_0",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("action", "OPEN"), ("refers_to__isnull", False), _connector="OR"
                        ),
                        name="follower_refers",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("published_at__isnull", True),
                            ("approval", "APPROVED"),
                            _connector="OR",
                        ),
                        name="published_is_approved",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("order_type", "LIMIT"), _negated=True),
                            ("open_price__isnull", False),
                            _connector="OR",
                        ),
                        name="limit_has_price",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("order_type", "STOP"), _negated=True),
                            ("stop_price__isnull", False),
                            _connector="OR",
                        ),
                        name="stop_has_price",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("refers_to", models.F("id")), _negated=True),
                            ("refers_to__isnull", True),
                            _connector="OR",
                        ),
                        name="not_itself",
                    ),
                ],
            },
        ),
        # Stop below, targets above the entry of a buy; the other way round for a sell.
        migrations.RunSQL(LEVELS),
        run_file(__file__, "approval.sql"),
    ]
