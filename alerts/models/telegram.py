"""A feed's Telegram bot: where it listens, whom it believes, and what its messages published."""

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q

from common.db.functions import ClockTimestamp
from common.fields import ChoiceField
from users.keys.setters import ended_with


class TelegramBot(models.Model):
    """The bot through which a feed's provider sends signals. One for each feed.

    `next_offset` is written in the transaction that stores the message before it. The process that
    polls holds the lease; a result counts only under the fence with which it was asked for.
    """

    feed = models.OneToOneField("signals.Feed", models.CASCADE, related_name="telegram_bot")
    bot_id = models.BigIntegerField(help_text="Telegram's number of the bot.")
    token_sealed = models.BinaryField()
    made_with = models.ForeignKey(
        "users.ApiKey", models.CASCADE, null=True, blank=True, editable=False, related_name="+",
        help_text="The API key that set its token: it is not read once that has ended.",
    )  # fmt: skip
    username = models.CharField(max_length=64, blank=True, default="", db_default="")
    forward_from = ArrayField(
        models.BigIntegerField(), default=list, db_default=[], blank=True,
        help_text="Chats whose forwarded messages count. Empty: forwarded messages are refused.",
    )  # fmt: skip
    forward_from_made_with = models.ForeignKey(
        "users.ApiKey", models.CASCADE, null=True, blank=True, editable=False, related_name="+",
        help_text="The API key that set forward_from: those chats count no more once it has ended.",
    )  # fmt: skip
    is_paused = models.BooleanField(default=False, db_default=False)
    created_at = models.DateTimeField(db_default=ClockTimestamp())
    checked_at = models.DateTimeField(null=True, help_text="When Telegram accepted the token.")
    contact_at = models.DateTimeField(null=True, help_text="When Telegram answered last.")
    update_at = models.DateTimeField(null=True, help_text="When its last message arrived.")
    next_offset = models.BigIntegerField(default=0, db_default=0)
    refused_count = models.BigIntegerField(
        default=0, db_default=0, help_text="Messages of chats and senders that are not allowed."
    )
    error_code = models.CharField(max_length=64, blank=True, default="", db_default="")
    error_detail = models.CharField(max_length=300, blank=True, default="", db_default="")
    error_at = models.DateTimeField(null=True)
    failures = models.PositiveIntegerField(default=0, db_default=0)
    due_at = models.DateTimeField(db_default=ClockTimestamp())
    holder = models.CharField(max_length=100, blank=True, default="", db_default="")
    fence = models.BigIntegerField(default=0, db_default=0)
    lease_until = models.DateTimeField(db_default=ClockTimestamp())

    class Meta:
        constraints = [
            # Only of tokens that Telegram has accepted: an invented one must not keep a bot away.
            models.UniqueConstraint(
                fields=["bot_id"], condition=Q(checked_at__isnull=False), name="bot_of_one_feed"
            )
        ]

    def __str__(self) -> str:
        return f"@{self.username}" if self.username else f"Bot {self.bot_id}"

    @property
    def ended_with_key(self) -> bool:
        """Whether the API key that set its token has ended, so that it is not read."""
        return ended_with(self, "made_with")

    @property
    def forward_from_ended_with_key(self) -> bool:
        """Whether the API key that set forward_from has ended, so that it counts no more."""
        return ended_with(self, "forward_from_made_with")

    @property
    def counted_origins(self) -> list[int]:
        """The chats whose forwarded messages count now."""
        return [] if self.forward_from_ended_with_key else self.forward_from


class TelegramChat(models.Model):
    """A chat in which a bot has seen a message; its messages count once the provider allows it."""

    class Kind(models.TextChoices):
        CHANNEL = "channel", "Channel"
        GROUP = "group", "Group"
        SUPERGROUP = "supergroup", "Group"
        PRIVATE = "private", "Private chat"

    bot = models.ForeignKey(TelegramBot, models.CASCADE, related_name="chats")
    chat_id = models.BigIntegerField()
    kind = ChoiceField(max_length=10, choices=Kind)
    title = models.CharField(max_length=200, blank=True, default="", db_default="")
    is_allowed = models.BooleanField(default=False, db_default=False)
    made_with = models.ForeignKey(
        "users.ApiKey", models.CASCADE, null=True, blank=True, editable=False, related_name="+",
        help_text="The API key that allowed it: it is allowed no more once that has ended.",
    )  # fmt: skip
    sender_ids = ArrayField(
        models.BigIntegerField(), default=list, db_default=[], blank=True,
        help_text="Who may send signals here. Empty: only posts of the channel itself.",
    )  # fmt: skip
    found_sender_id = models.BigIntegerField(
        null=True, help_text="Who wrote the message by which it was found."
    )
    found_sender = models.CharField(max_length=200, blank=True, default="", db_default="")
    found_at = models.DateTimeField(db_default=ClockTimestamp())

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["bot", "chat_id"], name="one_telegram_chat"),
            models.CheckConstraint(
                condition=Q(is_allowed=False) | Q(kind="channel") | ~Q(sender_ids=[]),
                name="telegram_group_has_senders",
                violation_error_message="In a group only named senders can be allowed.",
            ),
        ]

    def __str__(self) -> str:
        return self.title or str(self.chat_id)

    @property
    def ended_with_key(self) -> bool:
        """Whether the API key that allowed it has ended, so that its messages count no more."""
        return ended_with(self, "made_with")


class TelegramMessage(models.Model):
    """A message that published signals: replies to it and edits of it are about these.

    body: the text that counts, the edits included that were carried out. It outlives the inbox,
    since a trade may be open for longer than a week.
    """

    feed = models.ForeignKey("signals.Feed", models.CASCADE, related_name="telegram_messages")
    key = models.CharField(max_length=60, help_text="The chat and the message: -1001234:57.")
    body = models.BinaryField()
    signal_ids = ArrayField(models.BigIntegerField())

    class Meta:
        constraints = [models.UniqueConstraint(fields=["feed", "key"], name="one_telegram_message")]

    def __str__(self) -> str:
        return f"Message {self.key}"
