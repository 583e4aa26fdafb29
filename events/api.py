"""REST API of a user's notifications and channels."""

from typing import Any

from django.db.models import QuerySet
from django_filters import rest_framework as filters
from drf_spectacular.utils import extend_schema
from rest_framework import mixins, serializers, status, viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from common.api_fields import StrictModelSerializer, StrictSerializer, WholeNumber
from common.permissions import OWN
from events.confirmation import confirm, request_confirmation
from events.models import Channel, Notification
from events.selectors import channels_of, inbox
from events.services import KINDS, create_channel, mark_read, send_test


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
    mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet[Notification]
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


class ChannelSerializer(StrictModelSerializer[Channel]):
    """Where else you receive messages. Its full address is never shown again."""

    kinds = serializers.ListField(
        child=serializers.ChoiceField(sorted(KINDS)),
        required=False,
        help_text="Event kinds; empty: all but `order.placed`, which goes only to channels that"
        " name it.",
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
            "confirmed_at",
            "confirm_by",
            "last_error",
            "last_sent_at",
            "created_at",
        )
        read_only_fields = (
            "url_display", "is_active", "confirmed_at", "confirm_by", "last_error", "last_sent_at",
            "created_at",
        )  # fmt: skip


class ConfirmSerializer(StrictSerializer):
    """The code from the message that was sent to the address."""

    code = serializers.CharField(max_length=40)


class ChannelViewSet(
    mixins.CreateModelMixin,
    mixins.DestroyModelMixin,
    mixins.ListModelMixin,
    mixins.RetrieveModelMixin,
    viewsets.GenericViewSet[Channel],
):
    """E-mail addresses, chats and webhooks that receive messages about your accounts."""

    queryset = Channel.objects.none()
    serializer_class = ChannelSerializer
    rights = {"create": OWN, "destroy": OWN, "test": OWN, "confirm": OWN, "resend": OWN}
    lookup_value_regex = "[0-9]{1,18}"
    ordering_fields = ("id",)

    def get_queryset(self) -> QuerySet[Channel]:
        return channels_of(_user_id(self.request))

    def perform_create(self, serializer: serializers.BaseSerializer[Channel]) -> None:
        values: dict[str, Any] = dict(serializer.validated_data)
        serializer.instance = create_channel(user_id=_user_id(self.request), **values)

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


def _user_id(request: Request) -> int:
    assert request.user.pk is not None
    return int(request.user.pk)
