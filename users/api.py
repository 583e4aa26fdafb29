"""REST API of your user and your API keys."""

from typing import Any

from django.contrib.auth import get_user_model
from django.db.models import Prefetch, QuerySet
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import generics, mixins, serializers, status, viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from common.names import one_line
from common.permissions import OWN, Scope
from common.web.api_fields import (
    StrictModelSerializer,
    StrictSerializer,
    UtcDateTime,
    known_zone,
    validated_body,
)
from common.web.api_views import ObjectView
from users.keys.rules import SCOPES
from users.keys.setups import set_up_by_key, set_up_with
from users.models import ApiKey, ApiKeyNetwork, User
from users.services import create_api_key, revoke_api_key


def caller(request: Request) -> User:
    """Return the calling user. Only for views that require authentication."""
    assert isinstance(request.user, User)
    return request.user


class MeSerializer(StrictModelSerializer[User]):
    """Your user."""

    is_operator = serializers.BooleanField(read_only=True)

    class Meta:
        model = User
        fields = ("id", "username", "email", "time_zone", "is_operator")
        read_only_fields = (
            "username",
            "email",
        )  # a new address needs the password: the portal asks

    def validate_time_zone(self, value: str) -> str:
        """Refuse a time zone that is not known."""
        return known_zone(value)


class MeView(ObjectView, generics.RetrieveUpdateAPIView[User]):
    """Your user: the one that the API key or session belongs to."""

    queryset = get_user_model().objects.none()
    serializer_class = MeSerializer
    is_one_object = True
    rights = {"patch": OWN}
    http_method_names = ("get", "patch", "head", "options")

    def get_object(self) -> User:
        return caller(self.request)


class ApiKeyNetworkSerializer(StrictModelSerializer[ApiKeyNetwork]):
    """A network that the key was used from; not the full address."""

    class Meta:
        model = ApiKeyNetwork
        fields = ("network", "first_used_at", "last_used_at")
        read_only_fields = fields


class SetUpSerializer(StrictSerializer):
    """Something that a key set up and that acts on its own. ends_with_key: or outlives the key."""

    kind = serializers.CharField(read_only=True)
    name = serializers.CharField(read_only=True)
    ends_with_key = serializers.BooleanField(read_only=True)


class ApiKeySerializer(StrictModelSerializer[ApiKey]):
    """An API key. Only its hash is stored; the prefix identifies it."""

    networks = ApiKeyNetworkSerializer(many=True, read_only=True)
    set_up = serializers.SerializerMethodField()

    class Meta:
        model = ApiKey
        fields = (
            "id", "name", "prefix", "scopes", "created_at", "expires_at", "revoked_at",
            "last_used_at", "made_with", "networks", "set_up",
        )  # fmt: skip
        read_only_fields = fields

    @extend_schema_field(SetUpSerializer(many=True))
    def get_set_up(self, key: ApiKey) -> Any:
        """Return what the key, and those made with it, set up; read once for a whole list."""
        known = self.context.get("set_up")
        found = set_up_with(key.pk) if known is None else known.get(key.pk, [])
        return SetUpSerializer(found, many=True).data


class RevokeApiKeySerializer(StrictSerializer):
    """What ends besides the key."""

    channels = serializers.BooleanField(
        default=False, help_text="Switch off the channels that the key added: they outlive it."
    )


class NewApiKeySerializer(StrictSerializer):
    """A new API key: name, scopes and end."""

    name = serializers.CharField(max_length=100, validators=[one_line])
    scopes = serializers.ListField(
        child=serializers.ChoiceField([(scope.value, text) for scope, text in SCOPES.items()]),
        default=[Scope.READ.value],
        min_length=1,
        help_text="What the key may be used for. It never allows more than you may do at that"
        " time, nor more than the key that you send this request with.",
    )
    expires_at = UtcDateTime(
        default=None,
        allow_null=True,
        help_text="When it ends: by default in 90 days, at most in 366.",
    )


class CreatedApiKeySerializer(StrictSerializer):
    """A new key with its secret, which is never shown again."""

    key = ApiKeySerializer(read_only=True)
    secret = serializers.CharField(read_only=True)


class ApiKeyViewSet(
    ObjectView, mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet[ApiKey]
):
    """Your API keys."""

    queryset = ApiKey.objects.none()
    serializer_class = ApiKeySerializer
    moving = frozenset({"last_used_at", "networks", "set_up"})
    shown_once = frozenset({"create"})
    rights = {"create": OWN, "revoke": OWN}
    lookup_value_regex = "[0-9]{1,18}"
    ordering_fields = ("id",)

    def get_queryset(self) -> QuerySet[ApiKey]:
        latest = ApiKeyNetwork.objects.order_by("-last_used_at")
        mine = ApiKey.objects.filter(user=caller(self.request))
        if not self.asks_for("networks"):
            return mine
        return mine.prefetch_related(Prefetch("networks", latest))

    def get_serializer_context(self) -> dict[str, Any]:
        """Read once for a list what its keys set up."""
        context: dict[str, Any] = super().get_serializer_context()
        request: Request | None = self.request  # None while the schema is generated
        is_list = self.action == "list" and request is not None
        if is_list and self.request.user.is_authenticated and self.asks_for("set_up"):
            keys = self.get_queryset().values_list("pk", flat=True)
            context["set_up"] = set_up_by_key(list(keys))
        return context

    @extend_schema(request=NewApiKeySerializer, responses={201: CreatedApiKeySerializer})
    def create(self, request: Request) -> Response:
        """Create an API key. The secret in the response is never shown again.

        One made with an API key ends with that key, and makes no keys itself (403
        `API_KEY_MADE_WITH_KEY`). You are notified of each (`api_key.made`)."""
        body = NewApiKeySerializer(data=request.data)
        body.is_valid(raise_exception=True)
        key, secret = create_api_key(caller(request), **body.validated_data, by=caller(request))
        created: dict[str, Any] = {
            "key": ApiKeySerializer(key, context={"set_up": {}}).data,
            "secret": secret,
        }
        return Response(
            created, status=status.HTTP_201_CREATED, headers={"Cache-Control": "no-store"}
        )

    @extend_schema(request=RevokeApiKeySerializer, responses=ApiKeySerializer)
    @action(detail=True, methods=["post"])
    def revoke(self, request: Request, pk: str) -> Response:
        """Revoke an API key: it and those made with it stop working at once, for good.

        `set_up` lists what they set up. Alert addresses, Telegram bots and chats have ended with
        it; channels are on until they are switched off (`channels`), which needs a fresh second
        factor in a browser's session."""
        key = self.get_object()
        both = validated_body(RevokeApiKeySerializer, request)["channels"]
        revoke_api_key(key.pk, by=caller(request), and_its_channels=both)
        key.refresh_from_db()
        return Response(self.get_serializer(key).data)
