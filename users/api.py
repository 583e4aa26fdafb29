"""Oneself and one's API keys over HTTP."""

from typing import Any

from django.contrib.auth import get_user_model
from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import generics, mixins, serializers, status, viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from common.api_fields import StrictModelSerializer, StrictSerializer, UtcDateTime, known_zone
from common.permissions import OWN, Scope
from users.api_keys import SCOPES
from users.models import ApiKey, User
from users.services import create_api_key, revoke_api_key


def caller(request: Request) -> User:
    """Return who is calling; the views that ask let only known users in."""
    assert isinstance(request.user, User)
    return request.user


class MeSerializer(StrictModelSerializer[User]):
    """Who you are here."""

    is_operator = serializers.BooleanField(read_only=True)

    class Meta:
        model = User
        fields = ("id", "username", "email", "time_zone", "is_operator")
        read_only_fields = ("username",)

    def validate_time_zone(self, value: str) -> str:
        return known_zone(value)


class MeView(generics.RetrieveUpdateAPIView[User]):
    """Yourself: which user the key or the session belongs to."""

    queryset = get_user_model().objects.none()
    serializer_class = MeSerializer
    rights = {"patch": OWN}
    http_method_names = ("get", "patch", "head", "options")

    def get_object(self) -> User:
        return caller(self.request)


class ApiKeySerializer(StrictModelSerializer[ApiKey]):
    """A key of the API. Only its hash is stored; the prefix tells which one it is."""

    class Meta:
        model = ApiKey
        fields = (
            "id", "name", "prefix", "scopes", "created_at", "expires_at", "revoked_at",
            "last_used_at",
        )  # fmt: skip
        read_only_fields = fields


class NewApiKeySerializer(StrictSerializer):
    """What a new key shall be."""

    name = serializers.CharField(max_length=100)
    scopes = serializers.ListField(
        child=serializers.ChoiceField([(scope.value, text) for scope, text in SCOPES.items()]),
        default=[Scope.READ.value],
        min_length=1,
        help_text="What it may be used for. It never allows more than you may at that moment, nor"
        " more than the key that this request came with.",
    )
    expires_at = UtcDateTime(
        default=None, allow_null=True, help_text="90 days from now unless said, 366 at most."
    )


class CreatedApiKeySerializer(StrictSerializer):
    """A new key with its secret, which is never shown again."""

    key = ApiKeySerializer(read_only=True)
    secret = serializers.CharField(read_only=True)


class ApiKeyViewSet(
    mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet[ApiKey]
):
    """Your keys of the API."""

    queryset = ApiKey.objects.none()
    serializer_class = ApiKeySerializer
    rights = {"create": OWN, "revoke": OWN}
    lookup_value_regex = "[0-9]{1,18}"
    ordering_fields = ("id",)

    def get_queryset(self) -> QuerySet[ApiKey]:
        return ApiKey.objects.filter(user=caller(self.request))

    @extend_schema(request=NewApiKeySerializer, responses={201: CreatedApiKeySerializer})
    def create(self, request: Request) -> Response:
        """Create a key. The secret in the answer is never shown again."""
        wanted = NewApiKeySerializer(data=request.data)
        wanted.is_valid(raise_exception=True)
        key, secret = create_api_key(caller(request), **wanted.validated_data, by=caller(request))
        shown: dict[str, Any] = {"key": ApiKeySerializer(key).data, "secret": secret}
        return Response(
            shown, status=status.HTTP_201_CREATED, headers={"Cache-Control": "no-store"}
        )

    @extend_schema(request=None, responses=ApiKeySerializer)
    @action(detail=True, methods=["post"])
    def revoke(self, request: Request, pk: str) -> Response:
        """Make a key useless from now on."""
        key = self.get_object()
        revoke_api_key(key.pk, by=caller(request))
        key.refresh_from_db()
        return Response(self.get_serializer(key).data)
