"""Admin lists and forms of feeds, their tokens and signals. console/ has a signal's page."""

from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import ChoicesDropdownFilter, RelatedDropdownFilter

from common.clocks import market_now
from common.permissions import Right
from common.stop_rules import RULE_ROWS
from common.web.admin import ConsoleAdmin, ReadOnlyAdmin, ReadOnlyInline, read_id
from common.web.badges import amount, badge
from signals.feeds import services as feeds  # the former registers its list
from signals.forms.operators import FeedForm, SignalForm
from signals.models import Approval, Feed, FeedToken, Origin, Signal


class FeedTokenInline(ReadOnlyInline):
    """The tokens that alerts are posted with. Only their hashes are stored."""

    model = FeedToken
    fields = ("name", "prefix", "created_at", "expires_at", "revoked_at")
    readonly_fields = fields


@admin.register(Feed)
class FeedAdmin(ConsoleAdmin):
    """Feeds. The feed's page has buttons for archiving and tokens."""

    change_right = Right.FEEDS
    form = FeedForm
    list_display = ("name", "slug", "owner", "is_public", "approval", "alerts", "archived_at")
    list_filter = ("is_public", "is_approved")
    list_select_related = ("owner",)
    search_fields = ("name", "slug", "owner__username")
    autocomplete_fields = ("owner",)
    prepopulated_fields = {"slug": ("name",)}
    exclude = ("archived_at",)
    inlines = (FeedTokenInline,)

    @admin.display(description="Approval", ordering="is_approved")
    def approval(self, feed: Feed) -> SafeString:
        if feed.approved_by_owner:
            return badge("validated", "Its owner's only")
        return badge("ok", "Approved") if feed.is_approved else badge("pending", "Not approved")

    @admin.display(description="Alerts")
    def alerts(self, feed: Feed) -> SafeString:
        """Return a link to the alerts of the last week, with what became of each."""
        address = reverse("admin:alerts_incomingalert_changelist")
        return format_html('<a href="{}?feed__id__exact={}">Alert log</a>', address, feed.pk)

    def save_model(self, request: HttpRequest, obj: Feed, form: Any, change: bool) -> None:
        if not change:
            feeds.require_feed_quota(obj.owner_id)
            super().save_model(request, obj, form, change)
            return
        was_approved, changed = form.initial["is_approved"], form.changed_data
        by: Any = request.user
        updated = feeds.update_feed(obj.pk, by=by, **{n: form.cleaned_data[n] for n in changed})
        obj.is_approved, obj.approved_by_owner = updated.is_approved, updated.approved_by_owner
        if was_approved and not updated.is_approved and "is_approved" not in changed:
            messages.warning(
                request,
                "This change ended the feed's approval, and its unpublished signals wait for "
                "approval again. Approve the feed again if its signals may reach all subscribers.",
            )

    def has_delete_permission(self, request: HttpRequest, obj: Feed | None = None) -> bool:
        return False  # history refers to it; archive it instead


@admin.register(FeedToken)
class FeedTokenAdmin(ReadOnlyAdmin):
    """The tokens of all feeds. Their secrets are not stored."""

    list_display = ("name", "prefix", "feed", "created_at", "expires_at", "revoked_at")
    list_select_related = ("feed",)
    search_fields = ("name", "=prefix", "feed__name", "feed__slug")
    exclude = ("secret_hash", "signing_key")


class StageFilter(admin.SimpleListFilter):
    """Filters signals by their stage on the way to publication."""

    title = "stage"
    parameter_name = "stage"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [
            ("approval", "Waits for approval"),
            ("ready", "Approved, not published"),
            ("published", "Published"),
            ("cancelled", "Cancelled"),
            ("rejected", "Rejected by an operator"),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Signal]) -> QuerySet[Signal]:
        unpublished = queryset.filter(cancelled_at=None, published_at=None)
        stages = {
            "approval": unpublished.filter(approval=Approval.PENDING),
            "ready": unpublished.filter(approval=Approval.APPROVED),
            "published": queryset.filter(published_at__isnull=False),
            "cancelled": queryset.filter(cancelled_at__isnull=False),
            "rejected": queryset.filter(approval=Approval.REJECTED),
        }
        return stages.get(self.value() or "", queryset)


def stage(signal: Signal) -> tuple[str, str]:
    """Return a signal's stage: the class of its shape, and its word."""
    if signal.cancelled_at:
        return "cancelled", "Cancelled"
    if signal.published_at:
        return "ok", "Published"
    if signal.approval == Approval.REJECTED:
        return "denied", "Rejected"
    if signal.is_past(market_now()):
        return "expired", "Expired"
    if signal.approval == Approval.APPROVED:
        return "validated", "Ready"
    return "pending", "Waits for approval"


@admin.register(Signal)
class SignalAdmin(ConsoleAdmin):
    """Signals. A published signal cannot be edited."""

    change_right = Right.PUBLISH
    form = SignalForm
    page_list = True
    actions = None
    list_display = ("title", "feed", "stage_badge", "published_at", "candidates", "origin")
    list_filter = (
        StageFilter,
        ("feed", RelatedDropdownFilter),
        ("action", ChoicesDropdownFilter),
        ("direction", ChoicesDropdownFilter),
        ("origin", ChoicesDropdownFilter),
    )
    list_select_related = ("feed",)
    search_fields = ("currency_pair", "=external_id", "feed__name", "feed__slug", "strategy_id")
    search_help_text = "Symbol, S-number, external id, feed or strategy"
    autocomplete_fields = ("feed", "refers_to", "after_signal", "close_when_signal")
    ordering = ("-id",)
    fieldsets = (
        (None, {"fields": (("feed", "action"), "refers_to", ("currency_pair", "direction"))}),
        (
            "Order",
            {"fields": (("order_type", "time_in_force"), ("open_price", "stop_price"),
                        ("trail_distance", "trail_pips", "trail_percent"),
                        ("trail_atr", "trail_atr_minutes"), "activation_price",
                        "not_before", ("after_signal", "after_state"),
                        ("max_slippage_pips", "max_slippage_unit"),
                        ("max_spread", "max_spread_unit"), "valid_until")},
        ),
        (
            "Slices",
            {"fields": (("execution_style", "duration_seconds", "slice_count"),
                        ("slice_variation", "price_limit"), ("catch_up", "at_end"))},
        ),
        (
            "Levels",
            {"fields": ("sl", ("target_prices", "target_fractions"),
                        ("close_at", "close_after_seconds"),
                        ("close_when_signal", "close_when_state"), "close_fraction")},
        ),
        ("Break-even and trailing", {"fields": RULE_ROWS}),
        ("Meaning", {"fields": ("risk_category", ("strategy_id", "trade_plan_id"),
                                ("provider_quantity", "provider_equity", "provider_currency"),
                                "note")}),
    )  # fmt: skip

    @admin.display(description="Signal", ordering="id")
    def title(self, signal: Signal) -> str:
        return f"{signal.number} · {signal}"

    @admin.display(description="Stage")
    def stage_badge(self, signal: Signal) -> SafeString:
        return badge(*stage(signal))

    @admin.display(description="Candidates", ordering="candidate_count")
    def candidates(self, signal: Signal) -> SafeString:
        return amount(signal.candidate_count)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Signal], search_term: str
    ) -> tuple[QuerySet[Signal], bool]:
        pk = read_id(search_term.strip(), "S")
        if pk is not None:
            return queryset.filter(pk=pk), False
        results: tuple[QuerySet[Signal], bool]
        results = super().get_search_results(request, queryset, search_term)
        return results

    def has_change_permission(self, request: HttpRequest, obj: Signal | None = None) -> bool:
        is_final = obj is not None and (obj.published_at or obj.cancelled_at)
        return not is_final and bool(super().has_change_permission(request, obj))

    def has_delete_permission(self, request: HttpRequest, obj: Signal | None = None) -> bool:
        return False  # signals are cancelled, never deleted

    def save_model(self, request: HttpRequest, obj: Signal, form: Any, change: bool) -> None:
        if not change:
            obj.origin, obj.created_by_id = Origin.HAND, request.user.pk
        # A changed signal waits for approval again: a trigger in migrations/sql/approval.sql.
        super().save_model(request, obj, form, change)
