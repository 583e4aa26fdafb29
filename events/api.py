"""REST API of a user's notifications and channels."""

from typing import Any

from django.db import transaction
from django.db.models import QuerySet
from django.http import Http404
from django_filters import rest_framework as filters
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import mixins, serializers, status, viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from common.names import one_line
from common.permissions import OWN
from common.web.api_fields import StrictModelSerializer, StrictSerializer, UtcDateTime, WholeNumber
from common.web.api_views import ObjectView
from events.channel_rules import KINDS, set_kinds, set_rules
from events.confirmation import confirm, request_confirmation
from events.models import Channel, Digest, Notification, WebhookAttempt, WebhookMessage
from events.push_keys import offered_key
from events.push_services import checked_subscription, subscribe_browser
from events.selectors import channels_of, inbox, messages_of, waiting_of
from events.services import create_channel, mark_read, send_test
from events.webhook_services import create_webhook, resend, rotate_secret

NOT_STORED = {"Cache-Control": "no-store"}
RULES = ("is_active", "quiet_from", "quiet_until", "digest", "digest_at")


class NotificationSerializer(StrictModelSerializer[Notification]):
    """A notification of yours."""

    class Meta:
        model = Notification
        fields = ("id", "kind", "title", "body", "created_at", "read_at")
        read_only_fields = fields


class NotificationFilter(filters.FilterSet):  # type: ignore[misc]  # it has no types
    """`unread` and `kind`."""

    unread = filters.BooleanFilter(field_name="read_at", lookup_expr="isnull")

    class Meta:
        model = Notification
        fields = ("kind",)


class MarkReadSerializer(StrictSerializer):
    """Which notifications to mark as read; without `ids`, all of them."""

    ids = serializers.ListField(
        child=WholeNumber(), required=False, allow_empty=False, max_length=500
    )


class MarkedSerializer(StrictSerializer):
    """How many were unread before."""

    marked = serializers.IntegerField(read_only=True)


class NotificationViewSet(
    ObjectView,
    mixins.ListModelMixin,
    mixins.RetrieveModelMixin,
    viewsets.GenericViewSet[Notification],
):
    """Your notifications, newest first."""

    queryset = Notification.objects.none()
    serializer_class = NotificationSerializer
    lookup_value_regex = "[0-9]{1,18}"
    filterset_class = NotificationFilter
    rights = {"read": OWN}
    ordering_fields = ("id",)

    def get_queryset(self) -> QuerySet[Notification]:
        return inbox(_user_id(self.request))

    @extend_schema(request=MarkReadSerializer, responses=MarkedSerializer)
    @action(detail=False, methods=["post"])
    def read(self, request: Request) -> Response:
        """Mark notifications as read. Ids that are not yours are ignored."""
        body = MarkReadSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        marked = mark_read(
            user_id=_user_id(request), notification_ids=body.validated_data.get("ids")
        )
        return Response({"marked": marked})


class WaitingSerializer(StrictSerializer):
    """Events that wait for the end of quiet hours or for a digest; until: of the first one."""

    count = serializers.IntegerField(read_only=True)
    until = UtcDateTime(read_only=True)


class ChannelSerializer(StrictModelSerializer[Channel]):
    """Where else you receive messages. Its full address is never shown again."""

    waiting = serializers.SerializerMethodField()

    kinds = serializers.ListField(
        child=serializers.ChoiceField(sorted(KINDS)),
        required=False,
        help_text="Event kinds; empty: all but `order.placed`, `position.opened`,"
        " `position.stop_moved` and `signal.executed`, which go only to channels that name them.",
    )
    url = serializers.CharField(
        write_only=True, max_length=500, help_text="mailto:…, https://… or an apprise URL."
    )

    class Meta:
        model = Channel
        fields = (
            "id",
            "name",
            "url",
            "url_display",
            "kinds",
            "is_active",
            "is_signed",
            "is_browser",
            "ended_at",
            "previous_secret_until",
            "quiet_from",
            "quiet_until",
            "digest",
            "digest_at",
            "waiting",
            "confirmed_at",
            "confirm_by",
            "last_error",
            "last_sent_at",
            "created_at",
        )
        read_only_fields = (
            "url_display", "is_active", "is_signed", "is_browser", "ended_at",
            "previous_secret_until", "quiet_from", "quiet_until", "digest", "digest_at", "waiting",
            "confirmed_at", "confirm_by", "last_error", "last_sent_at", "created_at",
        )  # fmt: skip

    @extend_schema_field(WaitingSerializer(allow_null=True))
    def get_waiting(self, channel: Channel) -> Any:
        """Return what waits, read once for the whole list."""
        found = self.context.get("waiting")
        waiting = (waiting_of([channel]) if found is None else found).get(channel.pk)
        return None if waiting is None else WaitingSerializer(waiting).data


class ChannelRulesSerializer(StrictSerializer):
    """What a channel receives and when. Times are in your time zone (`/me/`)."""

    kinds = serializers.ListField(
        child=serializers.ChoiceField(sorted(KINDS)), required=False, allow_empty=False
    )
    is_active = serializers.BooleanField(required=False)
    quiet_from = serializers.TimeField(required=False, allow_null=True)
    quiet_until = serializers.TimeField(required=False, allow_null=True)
    digest = serializers.ChoiceField(Digest.choices, required=False, allow_blank=True)
    digest_at = serializers.TimeField(required=False, allow_null=True)


class NewWebhookSerializer(StrictSerializer):
    """A new signed webhook."""

    name = serializers.CharField(max_length=100, validators=[one_line])
    url = serializers.CharField(max_length=500, help_text="https://…")
    kinds = serializers.ListField(child=serializers.ChoiceField(sorted(KINDS)), default=list)


class NewBrowserSerializer(StrictSerializer):
    """A browser that has subscribed to push messages: the fields of its `PushSubscription`."""

    name = serializers.CharField(max_length=100, validators=[one_line])
    endpoint = serializers.CharField(max_length=1_000, help_text="https://… of its push service.")
    p256dh = serializers.CharField(max_length=200, help_text="Its public key, in base64url.")
    auth = serializers.CharField(max_length=100, help_text="Its secret, in base64url.")
    kinds = serializers.ListField(child=serializers.ChoiceField(sorted(KINDS)), default=list)


class PushKeySerializer(StrictSerializer):
    """The key that browsers subscribe with (`applicationServerKey`); empty: push is off here."""

    public_key = serializers.CharField(read_only=True)


class CreatedWebhookSerializer(StrictSerializer):
    """A signed webhook and its secret, which is never shown again."""

    channel = ChannelSerializer(read_only=True)
    secret = serializers.CharField(read_only=True)


class SecretSerializer(StrictSerializer):
    """A new secret; until previous_secret_until messages have the previous signature, too."""

    secret = serializers.CharField(read_only=True)
    previous_secret_until = UtcDateTime(read_only=True)


class AttemptSerializer(StrictModelSerializer[WebhookAttempt]):
    """One try to send a message. error is empty if it was accepted."""

    class Meta:
        model = WebhookAttempt
        fields = ("at", "status_code", "duration_ms", "answer", "error", "next_attempt_at")
        read_only_fields = fields


class MessageSerializer(StrictModelSerializer[WebhookMessage]):
    """A message to a signed webhook or a browser. uid: the header webhook-id, or the tag."""

    attempts = AttemptSerializer(many=True, read_only=True)

    class Meta:
        model = WebhookMessage
        fields = ("id", "uid", "status", "title", "events", "created_at", "attempts")
        read_only_fields = fields


class ConfirmSerializer(StrictSerializer):
    """The code from the message that was sent to the address."""

    code = serializers.CharField(max_length=40)


class ChannelViewSet(
    ObjectView,
    mixins.CreateModelMixin,
    mixins.DestroyModelMixin,
    mixins.ListModelMixin,
    mixins.RetrieveModelMixin,
    viewsets.GenericViewSet[Channel],
):
    """E-mail addresses, chats, webhooks and browsers that receive messages about your accounts."""

    queryset = Channel.objects.none()
    serializer_class = ChannelSerializer
    moving = frozenset({"waiting", "last_error", "last_sent_at"})
    shown_once = frozenset({"webhooks", "rotate_secret"})
    rights = dict.fromkeys(
        (
            "create", "destroy", "partial_update", "test", "confirm", "resend", "webhooks",
            "browsers", "rotate_secret", "resend_message",
        ),
        OWN,
    )  # fmt: skip
    lookup_value_regex = "[0-9]{1,18}"
    ordering_fields = ("id",)

    def get_queryset(self) -> QuerySet[Channel]:
        return channels_of(_user_id(self.request))

    @extend_schema(request=ChannelRulesSerializer, responses=ChannelSerializer)
    def partial_update(self, request: Request, pk: str) -> Response:
        """Change which kinds a channel receives, its quiet hours, digest, or switch it off."""
        channel = self.get_object()
        body = ChannelRulesSerializer(data=request.data, partial=True)
        body.is_valid(raise_exception=True)
        values: dict[str, Any] = dict(body.validated_data)
        with transaction.atomic():
            if (kinds := values.pop("kinds", None)) is not None:
                set_kinds({channel.pk: kinds}, user_id=_user_id(request))
            rules = {name: getattr(channel, name) for name in RULES}
            set_rules(channel.pk, **rules | values)
        channel.refresh_from_db()
        return Response(ChannelSerializer(channel).data)

    @extend_schema(request=NewWebhookSerializer, responses={201: CreatedWebhookSerializer})
    @action(detail=False, methods=["post"])
    def webhooks(self, request: Request) -> Response:
        """Create a signed webhook. The secret in the response is never shown again."""
        body = NewWebhookSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        channel, secret = create_webhook(**_adder(request), **body.validated_data)
        created = {"channel": ChannelSerializer(channel).data, "secret": secret}
        return Response(created, status=status.HTTP_201_CREATED, headers=NOT_STORED)

    @extend_schema(request=NewBrowserSerializer, responses={201: ChannelSerializer})
    @action(detail=False, methods=["post"])
    def browsers(self, request: Request) -> Response:
        """Add a browser by its push subscription, or renew its channel if it is known."""
        body = NewBrowserSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        values: dict[str, Any] = dict(body.validated_data)
        keys = {name: values.pop(name) for name in ("endpoint", "p256dh", "auth")}
        subscription = checked_subscription(**keys)
        channel = subscribe_browser(**_adder(request), subscription=subscription, **values)
        return Response(ChannelSerializer(channel).data, status=status.HTTP_201_CREATED)

    @extend_schema(responses=PushKeySerializer, filters=False)
    @action(detail=False, methods=["get"], url_path="push-key", pagination_class=None)
    def push_key(self, request: Request) -> Response:
        """Return the public key with which a browser subscribes to push messages."""
        return Response({"public_key": offered_key()})

    @extend_schema(request=None, responses=SecretSerializer)
    @action(detail=True, methods=["post"], url_path="rotate-secret")
    def rotate_secret(self, request: Request, pk: str) -> Response:
        """Replace the secret of a signed webhook. Both sign for a day."""
        channel = self.get_object()
        secret = rotate_secret(channel.pk)
        channel.refresh_from_db()
        until = channel.previous_secret_until
        answer = SecretSerializer({"secret": secret, "previous_secret_until": until}).data
        return Response(answer, headers=NOT_STORED)

    @extend_schema(responses=MessageSerializer(many=True), filters=False)
    @action(detail=True, methods=["get"])
    def messages(self, request: Request, pk: str) -> Response:
        """List the messages to a signed webhook or a browser with each try, newest first."""
        found: Any = messages_of(self.get_object())
        page: Any = self.paginate_queryset(found)
        return self.get_paginated_response(MessageSerializer(page, many=True).data)

    @extend_schema(request=None, responses={202: None})
    @action(detail=True, methods=["post"], url_path="messages/(?P<message>[0-9]{1,18})/resend")
    def resend_message(self, request: Request, pk: str, message: str) -> Response:
        """Send a message to a signed webhook or a browser again, with its id."""
        found = self.get_object().messages.filter(pk=message).first()
        if found is None:
            raise Http404
        resend(found.pk)
        return Response(status=status.HTTP_202_ACCEPTED)

    def get_serializer_context(self) -> dict[str, Any]:
        """Read what waits once for a list."""
        context: dict[str, Any] = super().get_serializer_context()
        request: Request | None = self.request  # None while the schema is generated
        is_list = self.action == "list" and request is not None
        if is_list and self.request.user.is_authenticated and self.asks_for("waiting"):
            context["waiting"] = waiting_of(list(self.get_queryset()))
        return context

    def perform_create(self, serializer: serializers.BaseSerializer[Channel]) -> None:
        values: dict[str, Any] = dict(serializer.validated_data)
        serializer.instance = create_channel(**_adder(self.request), **values)

    @extend_schema(request=None, responses={202: None})
    @action(detail=True, methods=["post"])
    def test(self, request: Request, pk: str) -> Response:
        """Request a test message; see `last_error` and `last_sent_at` for its result."""
        send_test(channel_id=self.get_object().pk)
        return Response(status=status.HTTP_202_ACCEPTED)

    @extend_schema(request=ConfirmSerializer, responses=ChannelSerializer)
    @action(detail=True, methods=["post"])
    def confirm(self, request: Request, pk: str) -> Response:
        """Confirm an e-mail address by the code that was sent there; then messages are sent."""
        body = ConfirmSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        channel = confirm(self.get_object().pk, body.validated_data["code"])
        return Response(ChannelSerializer(channel).data)

    @extend_schema(request=None, responses={202: None})
    @action(detail=True, methods=["post"])
    def resend(self, request: Request, pk: str) -> Response:
        """Send the confirmation link again; the previous link becomes invalid."""
        request_confirmation(self.get_object().pk)
        return Response(status=status.HTTP_202_ACCEPTED)


def _adder(request: Request) -> dict[str, Any]:
    """Return who adds a channel: the user, and the API key that the request was sent with."""
    return {"user_id": _user_id(request), "key_id": getattr(request.user, "key_id", None)}


def _user_id(request: Request) -> int:
    assert request.user.pk is not None
    return int(request.user.pk)
