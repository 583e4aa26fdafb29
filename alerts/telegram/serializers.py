"""A feed's Telegram bot as the API reads and returns it."""

from rest_framework import serializers

from alerts.models import TelegramBot, TelegramChat
from alerts.telegram.services import MOST_IDS
from common.reason_codes import Code
from common.web.api_fields import StrictModelSerializer, StrictSerializer, WholeNumber
from common.web.formatting import known_code
from users.api_fields import FreshFactorMixin

_SMALLEST, _LARGEST = -(2**53), 2**53


class _Ids(serializers.ListField):
    """Telegram's numbers of users or chats."""

    child = WholeNumber(min_value=_SMALLEST, max_value=_LARGEST)


class TelegramChatSerializer(StrictModelSerializer[TelegramChat]):
    """A chat in which the bot has seen a message. ended_with_key: the API key that allowed it was
    revoked or has ended, so its messages count no more."""

    ended_with_key = serializers.BooleanField(read_only=True)

    class Meta:
        model = TelegramChat
        fields = (
            "chat_id", "kind", "title", "is_allowed", "sender_ids", "found_sender_id",
            "found_sender", "found_at", "ended_with_key",
        )  # fmt: skip
        read_only_fields = fields


class TelegramBotSerializer(StrictModelSerializer[TelegramBot]):
    """A feed's bot, without its token. error_hint: what to do about the last error. ended_with_key:
    the API key that set its token was revoked or has ended, so it is not read.
    forward_from_ended_with_key: the one that set forward_from, so those chats count no more."""

    error_hint = serializers.SerializerMethodField()
    ended_with_key = serializers.BooleanField(read_only=True)
    forward_from_ended_with_key = serializers.BooleanField(read_only=True)
    chats = TelegramChatSerializer(many=True, read_only=True)

    class Meta:
        model = TelegramBot
        fields = (
            "bot_id", "username", "is_paused", "forward_from", "forward_from_ended_with_key",
            "created_at", "checked_at", "contact_at", "update_at", "refused_count", "error_code",
            "error_detail", "error_at", "error_hint", "ended_with_key", "chats",
        )  # fmt: skip
        read_only_fields = fields

    def get_error_hint(self, bot: TelegramBot) -> str:
        return Code(bot.error_code).hint if known_code(bot.error_code) else ""


class BotTokenSerializer(StrictSerializer):
    """The token that BotFather gave. It is stored encrypted and never returned."""

    token = serializers.CharField(max_length=200)


class _Origins(FreshFactorMixin, _Ids):
    """Chats from which strangers' words count: the portal's page demands a fresh second factor,
    too. Pausing a bot needs none."""


class ChangedBotSerializer(StrictSerializer):
    """A change of a bot. forward_from: chats whose forwarded messages count."""

    is_paused = serializers.BooleanField(required=False)
    forward_from = _Origins(required=False, max_length=MOST_IDS)


class ChangedChatSerializer(StrictSerializer):
    """Whether a chat's messages may be signals; sender_ids: of whom, in a group."""

    is_allowed = serializers.BooleanField()
    sender_ids = _Ids(required=False, max_length=MOST_IDS)
