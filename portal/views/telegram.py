"""A feed's Telegram bot, for its owner: its token, the chats that it found, pause and removal."""

from collections.abc import Sequence

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse

from alerts.models import TelegramBot, TelegramChat
from alerts.telegram.services import change_bot, remove_bot, set_bot, set_chat
from common.web.confirmation import ConfirmationPage, Consequence
from portal.pages import confirm, current_user, page, run_action, tenants_only
from portal.selectors.publishing import own_feed
from portal.selectors.telegram import bot_of
from portal.telegram_forms import ForwardForm, SendersForm, TokenForm
from signals.models import Feed
from users.keys.setters import shown_key

REFRESH_SECONDS = 3


def _back(feed: Feed) -> str:
    return reverse("portal:telegram", args=[feed.slug])


def _find_bot(feed: Feed) -> TelegramBot:
    found: TelegramBot = get_object_or_404(TelegramBot, feed=feed)
    return found


def _of_key(
    feed: Feed, row: TelegramBot | TelegramChat, field: str, what: str, numbers: Sequence[int]
) -> list[Consequence]:
    """Return which numbers an API key set, if one did. It may have been stolen, so a user who wants
    to keep them enters them again."""
    if not numbers or getattr(row, f"{field}_id") is None:
        return []
    key = shown_key(row, field, owner_id=feed.owner_id)
    text = (
        f"The API key {key} set these {what}: {', '.join(map(str, numbers))}."
        " Enter those that you know."
    )
    return [Consequence("attention", text)]


@tenants_only
def telegram(request: HttpRequest, *, slug: str) -> HttpResponse:
    """Show the steps, what Telegram answers, and the chats; the page follows them by itself."""
    feed = own_feed(current_user(request), slug)
    return page(
        request, "telegram.html", feed=feed, shown=bot_of(feed), refresh_seconds=REFRESH_SECONDS
    )


@tenants_only
def token(request: HttpRequest, *, slug: str) -> HttpResponse:
    """Store a bot's token; a worker tests it at once."""
    user = current_user(request)
    feed = own_feed(user, slug)
    form = TokenForm(request.POST or None)
    points = [
        Consequence("validated", "It is stored encrypted, tested within seconds, never shown."),
        Consequence("attention", "Another bot than before starts with no chat accepted."),
    ]
    question = ConfirmationPage(
        f"The Telegram bot of {feed.name}", points, "Connect it", _back(feed), False, form,
        "Not now",
    )  # fmt: skip

    def act() -> str:
        set_bot(feed, form.cleaned_data["token"], by=user)
        return "The token is stored and being tested. The result appears below."

    return confirm(request, question, act)


@tenants_only
def switch(request: HttpRequest, *, slug: str, pause: bool) -> HttpResponse:
    """Pause or resume a bot."""
    user = current_user(request)
    feed = own_feed(user, slug)
    bot = _find_bot(feed)

    def act() -> str:
        change_bot(feed, by=user, is_paused=pause)
        if pause:
            return f"{bot} is paused: its messages wait at Telegram for up to 24 hours."
        return f"{bot} is read again."

    return run_action(request, act, back=_back(feed))


@tenants_only
def remove(request: HttpRequest, *, slug: str) -> HttpResponse:
    """Confirm, then remove a bot."""
    user = current_user(request)
    feed = own_feed(user, slug)
    bot = _find_bot(feed)
    points = [
        Consequence("cancelled", "Its messages become no signals from now on."),
        Consequence("validated", "Published signals and open trades do not change."),
    ]
    question = ConfirmationPage(
        f"Remove {bot}?", points, "Remove it", _back(feed), decline_label="Keep it"
    )

    def act() -> str:
        remove_bot(feed, by=user)
        return f"{bot} is removed. To end the token as well, revoke it at BotFather."

    return confirm(request, question, act)


@tenants_only
def forwarding(request: HttpRequest, *, slug: str) -> HttpResponse:
    """Set the chats whose forwarded messages count."""
    user = current_user(request)
    feed = own_feed(user, slug)
    bot = _find_bot(feed)
    key_set = _of_key(feed, bot, "forward_from_made_with", "chats", bot.forward_from)
    form = ForwardForm(request.POST or None, initial={"chats": [] if key_set else bot.forward_from})
    points = [
        *key_set,
        Consequence("attention", "The authors of these chats can send signals through yours."),
        Consequence("denied", "Messages forwarded from any other chat are refused."),
    ]
    question = ConfirmationPage(
        f"Forwarded messages in {feed.name}", points, "Save", _back(feed), False, form
    )

    def act() -> str:
        change_bot(feed, by=user, forward_from=form.cleaned_data["chats"])
        return "Saved. It applies from the next message on."

    return confirm(request, question, act)


@tenants_only
def chat(request: HttpRequest, *, slug: str, pk: int) -> HttpResponse:
    """Confirm that a chat's messages may be signals, and of whom."""
    user = current_user(request)
    feed = own_feed(user, slug)
    found = get_object_or_404(TelegramChat, bot__feed=feed, pk=pk)
    is_channel = found.kind == TelegramChat.Kind.CHANNEL
    finder = [found.found_sender_id] if found.found_sender_id else []
    key_set = [] if is_channel else _of_key(feed, found, "made_with", "senders", found.sender_ids)
    senders = [] if key_set else found.sender_ids or finder
    form = None if is_channel else SendersForm(request.POST or None, initial={"senders": senders})
    who = "Every post of this channel" if is_channel else "Messages of the senders below"
    points = [
        *key_set,
        Consequence("attention", f"{who} can open and close trades for your followers."),
        Consequence("denied", "What was written before now stays refused."),
    ]
    title = f"Accept signals from {found} ({found.chat_id})?"
    question = ConfirmationPage(title, points, "Accept them", _back(feed), False, form, "Not now")

    def act() -> str:
        ids = form.cleaned_data["senders"] if form else None
        set_chat(feed, found.chat_id, is_allowed=True, sender_ids=ids, by=user)
        return f"{found} is accepted. Send a message there to try it."

    return confirm(request, question, act)


@tenants_only
def end_chat(request: HttpRequest, *, slug: str, pk: int) -> HttpResponse:
    """Confirm, then believe a chat no more."""
    user = current_user(request)
    feed = own_feed(user, slug)
    found = get_object_or_404(TelegramChat, bot__feed=feed, pk=pk)
    points = [
        Consequence("cancelled", "Messages in this chat are refused from now on."),
        Consequence("validated", "Published signals and open trades do not change."),
    ]
    title = f"Accept no more signals from {found}?"
    question = ConfirmationPage(title, points, "Refuse them", _back(feed), decline_label="Keep it")

    def act() -> str:
        set_chat(feed, found.chat_id, is_allowed=False, by=user)
        return f"{found} is refused from now on."

    return confirm(request, question, act)
