"""REST views of decision providers and news calendars."""

from collections.abc import Collection
from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import mixins, serializers, viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from common.permissions import Right
from common.web.api_fields import Amount, StrictModelSerializer, StrictSerializer
from common.web.api_views import ObjectView
from connections import services
from connections.api.connections import READING, NewRowOwnerMixin, usable_rows
from connections.api.serializers import OwnRowField
from connections.models import DecisionProvider, NewsCalendar
from users.api import caller
from users.api_fields import SecretText
from users.models import User

DIGITS = "[0-9]{1,18}"


def _owner(user: User) -> User | None:
    """Return the owner of what a user adds: an operator's is for all users."""
    return None if user.is_operator else user


class DecisionProviderSerializer(StrictModelSerializer[DecisionProvider]):
    """Who may reject or scale entries before they are sent. docs/decision-step.md"""

    is_shared = serializers.SerializerMethodField(
        help_text="It belongs to the operators, and all users may use it."
    )
    calendar = OwnRowField(model=NewsCalendar, required=False, allow_null=True)
    secret = SecretText(
        required=False, min_length=16, max_length=200,
        help_text="Signs the requests to the URL. It is stored encrypted and never shown.",
    )  # fmt: skip
    has_secret = serializers.SerializerMethodField(help_text="Whether a secret is stored.")
    ended_with_key = serializers.BooleanField(
        read_only=True,
        help_text="The API key that named who is asked has ended: they are not asked.",
    )
    timeout_seconds = Amount(required=False)
    broken_rule_factor = Amount(required=False)
    max_spread = Amount(required=False, allow_null=True)
    max_spread_percentile = Amount(required=False, allow_null=True)
    min_atr_percent = Amount(required=False, allow_null=True)
    max_atr_percent = Amount(required=False, allow_null=True)

    class Meta:
        model = DecisionProvider
        exclude = ("user", "key", "secret_sealed", "made_with")
        read_only_fields = ("created_at",)
        validators: list[Any] = []  # the rules of the row have our texts

    row_rules = True

    def faults_together(self, values: dict[str, Any], failed: Collection[str]) -> dict[str, Any]:
        """Return the faults of the row; a secret that cannot be read is not missing."""
        return super().faults_together(
            values, {*failed, "secret_sealed"} if "secret" in failed else failed
        )

    def unsaved_row(self, values: dict[str, Any]) -> DecisionProvider:
        """Return the provider with its owner, and something in the place of a new secret."""
        row = super().unsaved_row(values)
        row.user_id = self.instance.user_id if self.instance else self.context.get("owner_id")
        if values.get("secret"):
            row.secret_sealed = b"sealed when it is stored"
        return row

    def get_is_shared(self, provider: DecisionProvider) -> bool:
        """Return whether the provider belongs to the operators."""
        return provider.user_id is None

    def get_has_secret(self, provider: DecisionProvider) -> bool:
        """Return whether a secret is stored."""
        return bool(provider.secret_sealed)


class DecisionProviderViewSet(viewsets.ModelViewSet[DecisionProvider], NewRowOwnerMixin[Any]):
    """Decision providers: yours, and those of the operators. Name one in a preset to use it."""

    queryset = DecisionProvider.objects.none()
    serializer_class = DecisionProviderSerializer
    rights = dict.fromkeys(("create", "partial_update", "destroy"), Right.LIMITS)
    lookup_value_regex = DIGITS
    ordering_fields = ("id", "name")
    filterset_fields = ("kind",)
    http_method_names = ("get", "post", "patch", "delete", "head", "options")

    def get_queryset(self) -> QuerySet[DecisionProvider]:
        """Return the providers that the caller may read, or change, by the request's method."""
        user = caller(self.request)
        rows = usable_rows(DecisionProvider, user)
        return (
            rows if self.request.method in READING or user.is_operator else rows.filter(user=user)
        )

    def perform_create(self, serializer: serializers.BaseSerializer[DecisionProvider]) -> None:
        """Add a provider of the caller; an operator's is shared."""
        user, values = caller(self.request), dict(serializer.validated_data)
        secret = values.pop("secret", "")
        provider = DecisionProvider(user=_owner(user), **values)
        serializer.instance = services.add_decision_provider(provider, secret=secret, by=user)

    def perform_update(self, serializer: serializers.BaseSerializer[DecisionProvider]) -> None:
        """Change the provider."""
        row = self.get_object()
        serializer.instance = services.change_decision_provider(
            row.pk, by=caller(self.request), **serializer.validated_data
        )

    def perform_destroy(self, instance: DecisionProvider) -> None:
        """Delete the provider."""
        services.delete_decision_provider(instance.pk, by=caller(self.request))


class NewsCalendarSerializer(StrictModelSerializer[NewsCalendar]):
    """A calendar of news events. It covers the time from its first event to its last."""

    is_shared = serializers.SerializerMethodField(
        help_text="It belongs to the operators, and all users may use it."
    )

    class Meta:
        model = NewsCalendar
        exclude = ("user",)
        read_only_fields = ("starts_at", "ends_at", "event_count", "imported_at", "created_at")

    def get_is_shared(self, calendar: NewsCalendar) -> bool:
        """Return whether the calendar belongs to the operators."""
        return calendar.user_id is None


class CalendarFileSerializer(StrictSerializer):
    """The events of a calendar as CSV with the columns time, currency, impact and title."""

    csv = serializers.CharField(max_length=2_000_000, trim_whitespace=False)


class NewsCalendarViewSet(
    ObjectView,
    mixins.CreateModelMixin,
    mixins.ListModelMixin,
    mixins.RetrieveModelMixin,
    mixins.DestroyModelMixin,
    viewsets.GenericViewSet[NewsCalendar],
):
    """News calendars: yours, and those of the operators."""

    queryset = NewsCalendar.objects.none()
    serializer_class = NewsCalendarSerializer
    rights = dict.fromkeys(("create", "events", "destroy"), Right.LIMITS)
    lookup_value_regex = DIGITS
    ordering_fields = ("id", "name")

    def get_queryset(self) -> QuerySet[NewsCalendar]:
        """Return the calendars that the caller may read, or change, by the request's method."""
        user = caller(self.request)
        rows = usable_rows(NewsCalendar, user)
        return (
            rows if self.request.method in READING or user.is_operator else rows.filter(user=user)
        )

    def perform_create(self, serializer: serializers.BaseSerializer[NewsCalendar]) -> None:
        """Add an empty calendar of the caller; an operator's is shared."""
        user = caller(self.request)
        serializer.instance = services.add_news_calendar(
            serializer.validated_data["name"], owner=_owner(user), by=user
        )

    def perform_destroy(self, instance: NewsCalendar) -> None:
        """Delete the calendar."""
        services.delete_news_calendar(instance.pk, by=caller(self.request))

    @extend_schema(request=CalendarFileSerializer, responses=NewsCalendarSerializer)
    @action(detail=True, methods=["post"])
    def events(self, request: Request, pk: str) -> Response:
        """Replace the calendar's events. A file with any fault changes nothing."""
        calendar = self.get_object()
        body = CalendarFileSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        data = body.validated_data["csv"].encode()
        services.import_calendar(calendar.pk, data, by=caller(request))
        return Response(self.get_serializer(self.get_object()).data)
