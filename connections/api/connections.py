"""Connections, presets and where prices come from, over HTTP."""

from functools import partial
from typing import Any, TypeVar, cast

from django.db import transaction
from django.db.models import Model, Q, QuerySet
from django_filters import rest_framework as filters
from drf_spectacular.utils import extend_schema
from rest_framework import mixins, serializers, status, viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from common.permissions import Right
from connections import services, tasks
from connections.api.serializers import (
    ConnectionSerializer,
    CredentialsSerializer,
    PresetSerializer,
)
from connections.market_data.serializers import DataConnectionSerializer
from connections.market_data.source_status import with_status
from connections.models import DataConnection, ExecutionConnection, TradingPreset
from connections.selectors import with_display_columns
from connections.services import switch_source, use_own_prices
from signals.models import Feed
from signals.selectors import feeds_for
from users.api import caller
from users.models import User

READING = ("GET", "HEAD", "OPTIONS")
S = TypeVar("S", bound=Model)


def own_connections(user: User) -> QuerySet[ExecutionConnection]:
    """Return the connections that somebody decides about, archived ones too; all for operators."""
    found = ExecutionConnection.objects.select_related("health", "snapshot", "preset")
    rows = with_display_columns(found)
    return rows if user.is_operator else rows.filter(Q(user=user) | Q(admin=user))


def usable_rows(model: type[S], user: User) -> QuerySet[S]:
    """Return the rows of a model that this user may refer to: their own and those for everybody."""
    if model is Feed:
        return cast("QuerySet[S]", feeds_for(user).filter(archived_at=None))
    if model is ExecutionConnection:
        return cast("QuerySet[S]", own_connections(user).filter(archived_at=None))
    rows = model._default_manager.all()
    if model is User:
        return rows if user.is_operator else rows.filter(pk=user.pk)
    return rows if user.is_operator else rows.filter(Q(user=user) | Q(user=None))


class RelatedRowsMixin(viewsets.GenericViewSet[S]):
    """Tells its serializers what the caller may refer to."""

    def get_serializer_context(self) -> dict[str, Any]:
        """Add `usable_rows`, a function from a model to the rows that may be named."""
        context = super().get_serializer_context()
        request: Request | None = self.request  # none while the schema is made
        user = request.user if request is not None else None
        if isinstance(user, User):
            context["usable"] = partial(_usable_by, user)
        return context


def _usable_by(user: User, model: type[S]) -> QuerySet[S]:
    return usable_rows(model, user)


class ConnectionFilter(filters.FilterSet):  # type: ignore[misc]  # it has no types
    archived = filters.BooleanFilter(field_name="archived_at", lookup_expr="isnull", exclude=True)
    health = filters.CharFilter(field_name="health__status")

    class Meta:
        model = ExecutionConnection
        fields = ("type", "is_active", "is_paused")


class ConnectionViewSet(
    mixins.CreateModelMixin,
    mixins.ListModelMixin,
    mixins.RetrieveModelMixin,
    mixins.UpdateModelMixin,
    RelatedRowsMixin[ExecutionConnection],
):
    """Your broker accounts. Credentials go in and never come out.

    A new connection trades once its test has passed: `POST …/test/`, then read `health`.
    """

    queryset = ExecutionConnection.objects.none()
    serializer_class = ConnectionSerializer
    lookup_value_regex = "[0-9a-fA-F-]{36}"
    filterset_class = ConnectionFilter
    ordering_fields = ("name", "created_at")
    ordering = ("-created_at", "id")
    rights = {
        **dict.fromkeys(
            ("create", "partial_update", "destroy", "test", "pause", "resume"), Right.CONNECTIONS
        ),
        "credentials": Right.CREDENTIALS,
    }
    http_method_names = ("get", "post", "patch", "delete", "head", "options")

    def get_queryset(self) -> QuerySet[ExecutionConnection]:
        return own_connections(caller(self.request))

    def perform_create(self, serializer: serializers.BaseSerializer[ExecutionConnection]) -> None:
        user = caller(self.request)
        said = dict(serializer.validated_data)
        as_administrator = said.pop("as_administrator", False)
        own_prices = said.pop("own_prices", False)
        with transaction.atomic():
            made = services.create_connection(
                by=user,
                user=None if as_administrator else user,
                admin=user if as_administrator else None,
                **said,
            )
            if own_prices:
                use_own_prices(made.pk, by=user)
        serializer.instance = own_connections(user).get(pk=made.pk) if own_prices else made

    def perform_update(self, serializer: serializers.BaseSerializer[ExecutionConnection]) -> None:
        user, row = caller(self.request), self.get_object()
        said = dict(serializer.validated_data)
        active, own_prices = said.pop("is_active", None), said.pop("own_prices", False)
        with transaction.atomic():
            if said:
                services.update_connection(row.pk, by=user, **said)
            if own_prices:
                use_own_prices(row.pk, by=user)
            if active is not None:
                (services.activate if active else services.deactivate)(row.pk, by=user)
        serializer.instance = self.get_object()

    @extend_schema(request=None, responses={204: None})
    def destroy(self, request: Request, pk: str) -> Response:
        """Archive it, with its subscriptions: it takes no signal any more. Its history stays.

        409 ACCOUNT_IN_USE while something is open in it: nobody would watch that.
        """
        services.archive_connection(self.get_object().pk, by=caller(request))
        return Response(status=status.HTTP_204_NO_CONTENT)

    @extend_schema(request=CredentialsSerializer, responses={204: None})
    @action(detail=True, methods=["put"], http_method_names=["put", "options"])
    def credentials(self, request: Request, pk: str) -> Response:
        """Store credentials in place of those that are there. They are sealed and never shown.

        400 FIELD_UNKNOWN, FIELD_REQUIRED where they are not those that the kind's form asks for.
        """
        wanted = CredentialsSerializer(data=request.data, context={"request": request})
        row = self.get_object()
        wanted.is_valid(raise_exception=True)
        values = wanted.validated_data["credentials"]
        services.set_credentials(row.pk, by=caller(request), values=values)
        return Response(status=status.HTTP_204_NO_CONTENT)

    @extend_schema(request=None, responses={202: ConnectionSerializer})
    @action(detail=True, methods=["post"])
    def test(self, request: Request, pk: str) -> Response:
        """Ask for a connection test. A trading process runs it; its checks appear in `health`."""
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

    def _show(self, code: int = status.HTTP_200_OK) -> Response:
        return Response(self.get_serializer(self.get_object()).data, status=code)


class PresetViewSet(viewsets.ModelViewSet[TradingPreset]):
    """How large a trade may be and where it stops: yours, and those for everybody.

    Operators' presets (`is_shared`) are everybody's to use and theirs to change.
    """

    queryset = TradingPreset.objects.none()
    serializer_class = PresetSerializer
    rights = dict.fromkeys(("create", "partial_update", "destroy"), Right.LIMITS)
    lookup_value_regex = "[0-9]{1,18}"
    ordering_fields = ("id", "name")
    filterset_fields = ("sizing_mode",)
    http_method_names = ("get", "post", "patch", "delete", "head", "options")

    def get_queryset(self) -> QuerySet[TradingPreset]:
        user = caller(self.request)
        rows = usable_rows(TradingPreset, user)
        reading = self.request.method in READING or user.is_operator
        found = rows if reading else rows.filter(user=user)
        if self.request.method != "PATCH":
            return found
        return found.select_for_update(no_key=True, of=("self",))  # judged as it is now

    def perform_create(self, serializer: serializers.BaseSerializer[TradingPreset]) -> None:
        user = caller(self.request)
        serializer.save(user=None if user.is_operator else user)


class DataConnectionViewSet(mixins.UpdateModelMixin, viewsets.ReadOnlyModelViewSet[DataConnection]):
    """Where prices come from: your accounts' own brokers, and what the operators offer to all.

    One is made by `own_prices` of a connection. Yours may be switched off (`is_active`): accounts
    that use it get no entry meanwhile, and stops that we hold for them see no price.
    """

    queryset = DataConnection.objects.none()
    serializer_class = DataConnectionSerializer
    rights = {"partial_update": Right.PRICES}
    lookup_value_regex = "[0-9]{1,18}"
    ordering_fields = ("id", "name")
    filterset_fields = ("kind", "is_active")
    http_method_names = ("get", "patch", "head", "options")

    def get_queryset(self) -> QuerySet[DataConnection]:
        user = caller(self.request)
        rows = with_status(usable_rows(DataConnection, user))
        reading = self.request.method in READING or user.is_operator
        return rows if reading else rows.filter(user=user)

    def perform_update(self, serializer: serializers.BaseSerializer[DataConnection]) -> None:
        row = self.get_object()
        if "is_active" in serializer.validated_data:
            on = serializer.validated_data["is_active"]
            switch_source(row.pk, by=caller(self.request), on=on)
        serializer.instance = self.get_object()
