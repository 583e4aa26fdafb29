"""REST views of connections, presets and price sources."""

from functools import partial
from typing import Any, TypeVar, cast

from django.db import transaction
from django.db.models import Model, Q, QuerySet
from django_filters import rest_framework as filters
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import mixins, serializers, status, viewsets
from rest_framework.decorators import action
from rest_framework.pagination import CursorPagination
from rest_framework.request import Request
from rest_framework.response import Response

from common.permissions import Right
from common.web.api_fields import validated_body
from common.web.api_views import ObjectView
from connections import services, tasks
from connections.api.instruments import InstrumentSerializer
from connections.api.serializers import (
    ConnectionSerializer,
    CredentialsSerializer,
    PaperAccountSerializer,
    PresetSerializer,
)
from connections.market_data.serializers import DataConnectionSerializer
from connections.market_data.source_status import with_status
from connections.models import (
    DataConnection,
    ExecutionConnection,
    Instrument,
    Subscription,
    TradingPreset,
)
from connections.selectors import with_display_columns
from connections.services import set_fallback, switch_source, use_own_prices
from signals.models import Feed
from signals.selectors import feeds_for
from users.api import caller
from users.models import User

READING = ("GET", "HEAD", "OPTIONS")
S = TypeVar("S", bound=Model)


def own_connections(user: User) -> QuerySet[ExecutionConnection]:
    """Return the user's connections, archived ones too; for operators, all connections."""
    return with_display_columns(visible_connections(user))


def visible_connections(user: User) -> QuerySet[ExecutionConnection]:
    """Return the same without what is counted and looked up for each."""
    rows = ExecutionConnection.objects.select_related("health", "snapshot", "preset")
    return rows if user.is_operator else rows.filter(Q(user=user) | Q(admin=user))


def usable_rows(model: type[S], user: User) -> QuerySet[S]:
    """Return the rows of a model that this user may refer to: their own and shared ones."""
    if model is Feed:
        return cast("QuerySet[S]", feeds_for(user).filter(archived_at=None))
    if model is ExecutionConnection:
        return cast("QuerySet[S]", own_connections(user).filter(archived_at=None))
    if model is Subscription:
        mine = Subscription.objects.filter(connection__in=own_connections(user).values("pk"))
        return cast("QuerySet[S]", mine.filter(archived_at=None))
    rows = model._default_manager.all()
    if model is User:
        return rows if user.is_operator else rows.filter(pk=user.pk)
    return rows if user.is_operator else rows.filter(Q(user=user) | Q(user=None))


class RelatedRowsMixin(ObjectView, viewsets.GenericViewSet[S]):
    """Passes the rows that the caller may refer to to its serializers."""

    def get_serializer_context(self) -> dict[str, Any]:
        """Return the context with `usable`, a function from a model to the usable rows."""
        context = super().get_serializer_context()
        request: Request | None = self.request  # None while the schema is generated
        user = request.user if request is not None else None
        if isinstance(user, User):
            context["usable"] = partial(_usable_by, user)
        return context


def _usable_by(user: User, model: type[S]) -> QuerySet[S]:
    return usable_rows(model, user)


class ConnectionFilter(filters.FilterSet):  # type: ignore[misc]  # it has no types
    """The filters of connections."""

    archived = filters.BooleanFilter(field_name="archived_at", lookup_expr="isnull", exclude=True)
    health = filters.CharFilter(field_name="health__status")

    class Meta:
        model = ExecutionConnection
        fields = ("type", "is_active", "is_paused")


class NewRowOwnerMixin(RelatedRowsMixin[S]):
    """States to the serializer whose a new row is; an operator's belongs to no tenant."""

    def get_serializer_context(self) -> dict[str, Any]:
        """Return the context with the owner of a new row."""
        context = super().get_serializer_context()
        request: Request | None = self.request  # None while the schema is generated
        user = request.user if request is not None else None
        if isinstance(user, User) and not user.is_operator:
            context["owner_id"] = user.pk
        return context


class ConnectionViewSet(
    mixins.CreateModelMixin,
    mixins.ListModelMixin,
    mixins.RetrieveModelMixin,
    mixins.UpdateModelMixin,
    RelatedRowsMixin[ExecutionConnection],
):
    """Your broker accounts. Credentials are write-only.

    A new connection trades once its test has passed: `POST …/test/`, then read `health`.
    """

    queryset = ExecutionConnection.objects.none()
    serializer_class = ConnectionSerializer
    moving = frozenset({"health", "health_word", "worker", "open_count", "snapshot"})
    lookup_value_regex = "[0-9a-fA-F-]{36}"
    filterset_class = ConnectionFilter
    ordering_fields = ("name", "created_at")
    ordering = ("-created_at", "id")
    rights = {
        **dict.fromkeys(
            ("create", "paper", "partial_update", "destroy", "test", "pause", "resume"),
            Right.CONNECTIONS,
        ),
        "credentials": Right.CREDENTIALS,
    }
    http_method_names = ("get", "post", "patch", "delete", "head", "options")

    def get_queryset(self) -> QuerySet[ExecutionConnection]:
        """Return the connections that the caller may see."""
        rows = visible_connections(caller(self.request))
        return with_display_columns(rows) if self.asks_for("open_count", "worker") else rows

    def perform_create(self, serializer: serializers.BaseSerializer[ExecutionConnection]) -> None:
        """Create the connection, with its own broker's prices if requested."""
        user = caller(self.request)
        values = dict(serializer.validated_data)
        as_administrator = values.pop("as_administrator", False)
        own_prices = values.pop("own_prices", False)
        with transaction.atomic():
            created = services.create_connection(
                by=user,
                user=None if as_administrator else user,
                admin=user if as_administrator else None,
                **values,
            )
            if own_prices:
                use_own_prices(created.pk, by=user)
        serializer.instance = own_connections(user).get(pk=created.pk) if own_prices else created

    def perform_update(self, serializer: serializers.BaseSerializer[ExecutionConnection]) -> None:
        """Apply the changes in one transaction."""
        user, row = caller(self.request), self.get_object()
        values = dict(serializer.validated_data)
        active, own_prices = values.pop("is_active", None), values.pop("own_prices", False)
        with transaction.atomic():
            if values:
                services.update_connection(row.pk, by=user, **values)
            if own_prices:
                use_own_prices(row.pk, by=user)
            if active is not None:
                (services.activate if active else services.deactivate)(row.pk, by=user)
        serializer.instance = self.get_object()

    @extend_schema(request=None, responses={204: None})
    def destroy(self, request: Request, pk: str) -> Response:
        """Archive it with its subscriptions: it takes no further signals. Its history stays.

        409 ACCOUNT_IN_USE while anything is open in it, which would no longer be monitored.
        """
        services.archive_connection(self.get_object().pk, by=caller(request))
        return Response(status=status.HTTP_204_NO_CONTENT)

    @extend_schema(request=PaperAccountSerializer, responses={201: ConnectionSerializer})
    @action(detail=False, methods=["post"])
    def paper(self, request: Request) -> Response:
        """Open a paper account of your own: funded, with prices, and its test requested.

        409 PAPER_ACCOUNT_LIMIT, NO_SHARED_PRICES. Choose a preset for it (`PATCH`) before it
        trades.
        """
        user = caller(request)
        values = validated_body(PaperAccountSerializer, request)
        if "balance" not in values and (currency := values.get("currency")):
            values["balance"] = services.usual_balance(currency)
        connection, _ = services.open_paper_account(by=user, **values)
        transaction.on_commit(partial(tasks.enqueue_test, connection.pk))
        shown = self.get_serializer(own_connections(user).get(pk=connection.pk))
        return Response(shown.data, status=status.HTTP_201_CREATED)

    @extend_schema(request=CredentialsSerializer, responses={204: None})
    @action(detail=True, methods=["put"], http_method_names=["put", "options"])
    def credentials(self, request: Request, pk: str) -> Response:
        """Replace the stored credentials. They are encrypted and never shown.

        400 FIELD_UNKNOWN, FIELD_REQUIRED if they do not match the form of the broker type.
        """
        serializer = CredentialsSerializer(data=request.data, context={"request": request})
        row = self.get_object()
        serializer.is_valid(raise_exception=True)
        values = serializer.validated_data["credentials"]
        services.set_credentials(row.pk, by=caller(request), values=values)
        return Response(status=status.HTTP_204_NO_CONTENT)

    @extend_schema(request=None, responses={202: ConnectionSerializer})
    @action(detail=True, methods=["post"])
    def test(self, request: Request, pk: str) -> Response:
        """Request a connection test. A trading process runs it; its checks appear in `health`."""
        row = self.get_object()
        services.request_test(row.pk, by=caller(request))
        transaction.on_commit(partial(tasks.enqueue_test, row.pk))
        return self._show(status.HTTP_202_ACCEPTED)

    @extend_schema(request=None, responses=ConnectionSerializer)
    @action(detail=True, methods=["post"])
    def pause(self, request: Request, pk: str) -> Response:
        """Take no entries until it is resumed; exits go on."""
        services.pause(self.get_object().pk, by=caller(request))
        return self._show()

    @extend_schema(request=None, responses=ConnectionSerializer)
    @action(detail=True, methods=["post"])
    def resume(self, request: Request, pk: str) -> Response:
        """Take signals again, from the next one on."""
        services.resume(self.get_object().pk, by=caller(request))
        return self._show()

    @extend_schema(
        responses=InstrumentSerializer(many=True),
        filters=False,
        parameters=[
            OpenApiParameter("pair", str, description="Only this one: EUR/USD."),
            OpenApiParameter("symbol", str, description="Only this one: the broker's own name."),
        ],
    )
    @action(detail=True, methods=["get"], filterset_class=None)
    def instruments(self, request: Request, pk: str) -> Response:
        """List the symbols of the account's broker, with the hours of their markets."""
        book = self.get_object().instrument_book
        listed = Instrument.objects.filter(book=book) if book else Instrument.objects.none()
        for name in ("pair", "symbol"):
            if value := request.query_params.get(name):
                listed = listed.filter(**{name: value})
        paginator = cast("CursorPagination", self.paginator)
        rows = paginator.paginate_queryset(listed, request, view=None)
        return paginator.get_paginated_response(InstrumentSerializer(rows, many=True).data)

    def _show(self, code: int = status.HTTP_200_OK) -> Response:
        return Response(self.get_serializer(self.get_object()).data, status=code)


class PresetViewSet(viewsets.ModelViewSet[TradingPreset], NewRowOwnerMixin[Any]):
    """Presets for sizing and limits: yours, and shared ones.

    All users may use the operators' presets (`is_shared`); only operators may change them.
    """

    queryset = TradingPreset.objects.none()
    serializer_class = PresetSerializer
    rights = dict.fromkeys(("create", "partial_update", "destroy"), Right.LIMITS)
    lookup_value_regex = "[0-9]{1,18}"
    ordering_fields = ("id", "name")
    filterset_fields = ("sizing_mode",)
    http_method_names = ("get", "post", "patch", "delete", "head", "options")

    def get_queryset(self) -> QuerySet[TradingPreset]:
        """Return the presets that the caller may read, or change, by the request's method."""
        user = caller(self.request)
        rows = usable_rows(TradingPreset, user)
        reading = self.request.method in READING or user.is_operator
        visible = rows if reading else rows.filter(user=user)
        if self.request.method != "PATCH":
            return visible
        return visible.select_for_update(no_key=True, of=("self",))  # validated as it is now

    def perform_create(self, serializer: serializers.BaseSerializer[TradingPreset]) -> None:
        """Create a preset of the caller; an operator's is shared."""
        user = caller(self.request)
        owner = None if user.is_operator else user
        preset = TradingPreset(user=owner, **serializer.validated_data)
        serializer.instance = services.create_preset(preset, by=user)

    def perform_update(self, serializer: serializers.BaseSerializer[TradingPreset]) -> None:
        """Change the fields that were sent, from the next decision about an entry on."""
        row = self.get_object()
        serializer.instance = services.change_preset(
            row.pk, by=caller(self.request), **serializer.validated_data
        )

    def perform_destroy(self, instance: TradingPreset) -> None:
        """Delete it. 409 STATE_CONFLICT while an account uses it."""
        services.delete_preset(instance.pk, by=caller(self.request))


class DataConnectionViewSet(
    mixins.UpdateModelMixin, RelatedRowsMixin[DataConnection],
    viewsets.ReadOnlyModelViewSet[DataConnection],
):  # fmt: skip
    """Price sources: your accounts' own brokers, what you push, and those that operators share.

    `own_prices` of a connection creates one. You may switch yours off (`is_active`): accounts that
    use it take no entries meanwhile, and the stops that we monitor for them are not executed.
    `fallback` is the source that stands in while yours is silent or suspect.
    """

    queryset = DataConnection.objects.none()
    serializer_class = DataConnectionSerializer
    moving = frozenset(
        (
            *("status", "last_price_at", "error_code", "failing_since", "pairs", "missing"),
            *("on_fallback", "suspects"),
        )
    )
    rights = {"partial_update": Right.PRICES}
    lookup_value_regex = "[0-9]{1,18}"
    ordering_fields = ("id", "name")
    filterset_fields = ("kind", "is_active")
    http_method_names = ("get", "patch", "head", "options")

    def get_queryset(self) -> QuerySet[DataConnection]:
        """Return the sources that the caller may read, or change, by the request's method."""
        user = caller(self.request)
        rows = with_status(usable_rows(DataConnection, user))
        reading = self.request.method in READING or user.is_operator
        return rows if reading else rows.filter(user=user)

    def perform_update(self, serializer: serializers.BaseSerializer[DataConnection]) -> None:
        """Switch the source on or off, and choose its fallback, in one transaction."""
        row, values, user = self.get_object(), serializer.validated_data, caller(self.request)
        with transaction.atomic():
            if "fallback" in values:
                chosen: DataConnection | None = values["fallback"]
                set_fallback(row.pk, chosen.pk if chosen else None, by=user)
            if "is_active" in values:
                switch_source(row.pk, by=user, on=values["is_active"])
        serializer.instance = self.get_object()
