"""Create signed webhooks, replace their secrets, and send a message again."""

from collections.abc import Sequence
from datetime import timedelta

from django.db import transaction
from django.utils import timezone

from common.errors import ConflictError
from common.reason_codes import Code
from common.web.quotas import require_quota
from events import channels, webhook_log, webhooks
from events.channel_rules import checked_kinds, checked_name
from events.models import Channel, WebhookMessage

OVERLAP = timedelta(hours=24)
"""How long messages are signed with the previous secret, too."""


@transaction.atomic
def create_webhook(
    *, user_id: int, name: str, url: str, kinds: Sequence[str] = (), key_id: int | None = None
) -> tuple[Channel, str]:
    """Add a signed webhook. Returns it and its secret, which is shown once: only sealed it is kept.

    url: https://…; http only to networks that the operators allow. key_id: the API key that adds
    it. Raises as `create_channel`.
    """
    channel = Channel(
        user_id=user_id, name=checked_name(name), url_display=webhooks.check_url(url)[:100],
        kinds=checked_kinds(kinds), confirmed_at=timezone.now(), made_with_id=key_id,
    )  # fmt: skip
    secret = webhooks.new_secret()
    channel.url_sealed = channels.seal_url(url.strip(), channel)
    channel.secret_sealed = webhooks.seal_secret(secret, channel)
    require_quota("channels", user_id, Channel.objects.filter(user=user_id))
    channel.save(force_insert=True)
    return channel, secret


@transaction.atomic
def rotate_secret(channel_id: int) -> str:
    """Return a new secret of a signed webhook. For OVERLAP messages have both signatures.

    Replacing it again within that time ends the oldest one at once. Raises ConflictError for
    another channel.
    """
    channel = Channel.objects.select_for_update(no_key=True).get(pk=channel_id)
    _require_signed(channel)
    secret = webhooks.new_secret()
    Channel.objects.filter(pk=channel_id).update(
        previous_secret_sealed=channel.secret_sealed,
        previous_secret_until=timezone.now() + OVERLAP,
        secret_sealed=webhooks.seal_secret(secret, channel),
    )
    return secret


@transaction.atomic
def resend(message_id: int) -> None:
    """Send a message again, now, with the id that it had: a receiver recognises the repetition.

    Raises ConflictError if the channel is off.
    """
    message = WebhookMessage.objects.select_related("channel").get(pk=message_id)
    if not message.channel.is_active:
        raise ConflictError(Code.STATE_CONFLICT, "This channel is off: switch it on first.")
    webhook_log.send_again(message_id)
    Channel.objects.filter(pk=message.channel_id).update(backoff_until=None)


def _require_signed(channel: Channel) -> None:
    if not channel.is_signed:
        detail = "Only a signed webhook has a secret."
        raise ConflictError(Code.STATE_CONFLICT, detail)
