"""REST API of a feed's Telegram bot."""

from typing import TYPE_CHECKING, ClassVar

from django.shortcuts import get_object_or_404
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import status
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from alerts.models import TelegramBot, TelegramChat
from alerts.telegram.serializers import (
    BotTokenSerializer,
    ChangedBotSerializer,
    ChangedChatSerializer,
    TelegramBotSerializer,
    TelegramChatSerializer,
)
from alerts.telegram.services import change_bot, remove_bot, set_bot, set_chat
from common.permissions import Right
from common.web.api_fields import validated_body
from signals.models import Feed
from users.api import caller
from users.keys.setters import read_keys

if TYPE_CHECKING:
    from rest_framework.viewsets import GenericViewSet

    Base = GenericViewSet[Feed]
else:
    Base = object
CHAT_ID = [OpenApiParameter("chat_id", int, OpenApiParameter.PATH)]


class TelegramActions(Base):
    """The actions of a feed that concern its Telegram bot."""

    telegram_rights: ClassVar[dict[str, Right]] = dict.fromkeys(
        ("set_telegram_bot", "change_telegram_bot", "remove_telegram_bot", "telegram_chat"),
        Right.FEEDS,
    )
    telegram_reads: ClassVar[frozenset[str]] = frozenset({"telegram_bot"})

    @extend_schema(responses=TelegramBotSerializer, filters=False)
    @action(
        detail=True, methods=["get"], url_path="telegram-bot", filterset_class=None,
        pagination_class=None,
    )  # fmt: skip
    def telegram_bot(self, request: Request, slug: str) -> Response:
        """Return the feed's bot, the chats that it has found, and its last error. 404: none."""
        return self._bot(self.get_object())

    @extend_schema(request=BotTokenSerializer, responses={201: TelegramBotSerializer})
    @telegram_bot.mapping.post
    def set_telegram_bot(self, request: Request, slug: str) -> Response:
        """Store a bot's token, in place of an earlier one. It is tested within seconds:
        `checked_at` or `error_code` say so. One that an API key sets is read while the key is open.
        """
        feed = self.get_object()
        token = validated_body(BotTokenSerializer, request)["token"]
        set_bot(feed, token, by=caller(request))
        return self._bot(feed, status.HTTP_201_CREATED)

    @extend_schema(request=ChangedBotSerializer, responses=TelegramBotSerializer)
    @telegram_bot.mapping.patch
    def change_telegram_bot(self, request: Request, slug: str) -> Response:
        """Pause or resume the bot; set the chats whose forwarded messages count. Those set with an
        API key count while the key is open."""
        feed = self.get_object()
        get_object_or_404(TelegramBot, feed=feed)
        change_bot(feed, by=caller(request), **validated_body(ChangedBotSerializer, request))
        return self._bot(feed)

    @extend_schema(request=None, responses={204: None})
    @action(detail=True, methods=["post"], url_path="telegram-bot/remove")
    def remove_telegram_bot(self, request: Request, slug: str) -> Response:
        """Remove the bot and forget its chats. Without one, nothing changes."""
        remove_bot(self.get_object(), by=caller(request))
        return Response(status=status.HTTP_204_NO_CONTENT)

    @extend_schema(
        request=ChangedChatSerializer, responses=TelegramChatSerializer, parameters=CHAT_ID
    )
    @action(
        detail=True, methods=["patch"], url_path=r"telegram-bot/chats/(?P<chat_id>-?[0-9]{1,16})"
    )
    def telegram_chat(self, request: Request, slug: str, chat_id: str) -> Response:
        """Allow a chat in which the bot has seen a message, or allow it no more. One allowed with
        an API key is allowed while the key is open; another caller names its senders to keep them
        (400 `FIELD_REQUIRED`)."""
        feed = self.get_object()
        values = validated_body(ChangedChatSerializer, request)
        get_object_or_404(TelegramChat, bot__feed=feed, chat_id=int(chat_id))
        chat = set_chat(feed, int(chat_id), by=caller(request), **values)
        return Response(TelegramChatSerializer(chat).data)

    def _bot(self, feed: Feed, code: int = status.HTTP_200_OK) -> Response:
        bot = get_object_or_404(TelegramBot.objects.prefetch_related("chats"), feed=feed)
        read_keys([bot], "made_with", "forward_from_made_with")
        read_keys(bot.chats.all(), "made_with")
        return Response(TelegramBotSerializer(bot).data, status=code)
