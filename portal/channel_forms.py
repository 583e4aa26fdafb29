"""The forms of channels: one for each service, what a channel receives, and when."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, ClassVar

from django import forms

from common.names import one_line
from common.web.user_agents import browser_label
from events import channel_addresses
from events.channel_rules import KINDS
from events.models import Channel, Digest
from events.push_services import checked_subscription, subscribe_browser
from events.services import create_channel
from events.webhook_services import create_webhook

PLAIN = {"autocomplete": "off", "spellcheck": "false"}
CLOCK = forms.TimeInput(attrs={"type": "time"}, format="%H:%M")
GROUPS = {
    "signal": "Signals", "alert": "Signals", "order": "Orders", "position": "Positions",
    "exit": "Positions",
    "slippage": "Risk", "loss_limit": "Risk", "trading": "Risk", "kill_switch": "Risk",
    "connection": "Accounts", "host": "Accounts", "drift": "Accounts",
    "api_key": "Your login", "password": "Your login", "channel": "Your login",
}  # fmt: skip
"""The heading of a kind, by the part before its point; others are about the installation."""
OTHERS = "The installation"


class ChannelForm(forms.Form):
    """The fields of one service, and how its channel is made from them."""

    title: ClassVar[str]
    summary: ClassVar[str]
    steps: ClassVar[Sequence[str]] = ()
    template: ClassVar[str] = "channel_new.html"
    user_agent = ""  # of the request
    name = forms.CharField(
        max_length=100, validators=[one_line], help_text="Such as “phone” or “team chat”."
    )

    def address(self) -> str:
        """Return the channel's address. Raises InvalidInputError."""
        raise NotImplementedError

    def create(self, user_id: int) -> tuple[Channel, str]:
        """Create the channel; return it and the secret to be shown once, if it has one."""
        name = self.cleaned_data["name"]
        return create_channel(user_id=user_id, name=name, url=self.address()), ""


class MailForm(ChannelForm):
    """An e-mail address."""

    title, summary = "E-mail", "Messages to an address that you confirm by a link."
    mail_address = forms.EmailField(label="E-mail address")

    def address(self) -> str:
        return channel_addresses.mail_url(self.cleaned_data["mail_address"])


class TelegramForm(ChannelForm):
    """A chat of Telegram that a bot writes to."""

    title, summary = "Telegram", "A bot of yours writes to a chat, a group or a channel."
    steps = (
        "In Telegram, write /newbot to @BotFather. It answers with the bot's token.",
        "Open the chat with your new bot and press Start; for a group, add the bot to it.",
        "Write to @userinfobot: it answers with your number. A group's number begins with a minus:"
        " forward a message of the group to @getidsbot.",
    )
    bot_token = forms.CharField(
        label="The bot's token",
        max_length=120,
        widget=forms.TextInput(attrs=PLAIN),
        help_text="Such as 110201543:AAHdqTcv…. It is stored encrypted and never shown again.",
    )
    chat_id = forms.CharField(
        label="Chat", max_length=40, widget=forms.TextInput(attrs=PLAIN),
        help_text="Its number, or the @name of a channel.",
    )  # fmt: skip

    def address(self) -> str:
        data = self.cleaned_data
        return channel_addresses.telegram_url(data["bot_token"], data["chat_id"])


class DiscordForm(ChannelForm):
    """A channel of a Discord server."""

    title, summary = "Discord", "Messages in a channel of a server."
    steps = (
        "In Discord, open the settings of the channel, then Integrations, then Webhooks.",
        "Choose New Webhook, then Copy Webhook URL.",
    )
    webhook_url = forms.CharField(
        label="Webhook URL", max_length=300, widget=forms.TextInput(attrs=PLAIN),
        help_text="It is stored encrypted and never shown again.",
    )  # fmt: skip

    def address(self) -> str:
        return channel_addresses.discord_url(self.cleaned_data["webhook_url"])


class SlackForm(DiscordForm):
    """A channel of a Slack workspace."""

    title, summary = "Slack", "Messages in a channel of a workspace."
    steps = (
        "On api.slack.com/apps create an app for your workspace, and switch Incoming Webhooks on.",
        "Choose Add New Webhook to Workspace, pick the channel, and copy the address.",
    )

    def address(self) -> str:
        return channel_addresses.slack_url(self.cleaned_data["webhook_url"])


class WebhookForm(ChannelForm):
    """A signed webhook for programs."""

    title, summary = "Webhook", "Signed JSON for your own program (Standard Webhooks)."
    steps = (
        "Your program answers a POST with 200 to 299 within five seconds.",
        "The next page shows the secret, once. Your program checks each message with it: libraries"
        " are at standardwebhooks.com.",
    )
    url = forms.CharField(
        label="Address", max_length=500, widget=forms.TextInput(attrs=PLAIN),
        help_text="https://…, reachable from the internet.",
    )  # fmt: skip

    def create(self, user_id: int) -> tuple[Channel, str]:
        return create_webhook(user_id=user_id, **self.cleaned_data)


class BrowserForm(ChannelForm):
    """The browser that shows the form. Its script fills in the fields after a click."""

    title, summary = "This browser", "Push messages on this computer, phone or tablet."
    template = "channel_browser.html"
    name = forms.CharField(max_length=100, required=False, validators=[one_line])
    endpoint = forms.CharField(max_length=1_000, widget=forms.HiddenInput)
    p256dh = forms.CharField(max_length=200, widget=forms.HiddenInput)
    auth = forms.CharField(max_length=100, widget=forms.HiddenInput)

    def create(self, user_id: int) -> tuple[Channel, str]:
        data = self.cleaned_data
        subscription = checked_subscription(data["endpoint"], data["p256dh"], data["auth"])
        name = data["name"] or browser_label(self.user_agent)
        return subscribe_browser(user_id=user_id, name=name, subscription=subscription), ""


class AdvancedForm(ChannelForm):
    """Any service that apprise knows and we allow."""

    title, summary = "Advanced", "An apprise URL: Teams, Google Chat, Mattermost, ntfy, Gotify …"
    url = forms.CharField(
        label="Address", max_length=500, widget=forms.TextInput(attrs=PLAIN),
        help_text="An apprise URL, mailto:name@example.com, or https://… for unsigned JSON. It is"
        " stored encrypted and never shown again.",
    )  # fmt: skip

    def address(self) -> str:
        return str(self.cleaned_data["url"])


FORMS: dict[str, type[ChannelForm]] = {
    "browser": BrowserForm, "email": MailForm, "telegram": TelegramForm, "discord": DiscordForm,
    "slack": SlackForm, "webhook": WebhookForm, "advanced": AdvancedForm,
}  # fmt: skip


class RulesForm(forms.Form):
    """Whether a channel is on, when it is quiet, and how often it receives messages."""

    is_active = forms.BooleanField(label="On: send messages there", required=False)
    quiet_from = forms.TimeField(label="Quiet from", required=False, widget=CLOCK)
    quiet_until = forms.TimeField(
        label="Quiet until", required=False, widget=CLOCK,
        help_text="Without both, there are no quiet hours.",
    )  # fmt: skip
    digest = forms.ChoiceField(label="Send messages", required=False, choices=Digest.choices)
    digest_at = forms.TimeField(
        label="Time of the daily message", required=False, widget=CLOCK,
        help_text="Only for once a day.",
    )  # fmt: skip

    def __init__(self, *args: Any, zone: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields[
            "quiet_from"
        ].help_text = (
            f"In your time zone, {zone}. Alarms about money or your login are sent all the same."
        )


def rules_of(channel: Channel) -> dict[str, Any]:
    return {name: getattr(channel, name) for name in RulesForm.base_fields}


def grouped_kinds(*, with_installation: bool) -> list[tuple[str, list[str]]]:
    """Return the kinds of events under their headings."""
    groups: dict[str, list[str]] = defaultdict(list)
    for kind in sorted(map(str, KINDS)):
        groups[GROUPS.get(kind.partition(".")[0], OTHERS)].append(kind)
    order = [*dict.fromkeys(GROUPS.values()), OTHERS]
    return [
        (name, groups[name]) for name in order
        if groups[name] and (with_installation or name != OTHERS)
    ]  # fmt: skip
