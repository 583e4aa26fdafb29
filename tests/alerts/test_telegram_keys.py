"""What an API key set at a Telegram bot ends with the key."""

import time
from datetime import UTC, datetime

import pytest

from alerts.models import AlertState, IncomingAlert, TelegramBot, TelegramChat
from alerts.telegram.poller import TelegramPoller
from alerts.telegram.services import change_bot, set_bot, set_chat
from common.errors import InvalidInputError
from common.reason_codes import Code
from signals.models import Feed
from tests.alerts.telegram_bot import (
    ENTRY,
    OTHER,
    SECONDS,
    api,
    bot,
    make,
    outcome,
    poller,
    published,
    read,
    surroundings,
    wait,
)
from tests.fakes.telegram.bot_api import CHANNEL_ID, GROUP_ID, TOKEN, BotApi
from users.models import ApiKey, User
from users.services import create_api_key, revoke_api_key, user_for_key

__all__ = ["api", "bot", "make", "poller", "surroundings"]


@pytest.fixture
def with_key(feed: Feed) -> User:
    """The provider, as a request with an API key knows them."""
    return user_with_key(feed, "robot")


def user_with_key(feed: Feed, name: str) -> User:
    _, secret = create_api_key(feed.owner, name)
    caller = user_for_key(secret)
    assert caller is not None
    return caller


def revoke(caller: User) -> None:
    assert caller.key_id is not None
    assert revoke_api_key(caller.key_id, by=caller)


class TestKeys:
    """What an API key set up ends with the key; what a person sets or confirms is theirs."""

    def test_bot_ends_with_its_key_until_a_person_sets_it_again(
        self, feed: Feed, with_key: User, poller: TelegramPoller, api: BotApi
    ) -> None:
        set_bot(feed, TOKEN, by=with_key)
        api.post("Hello")
        wait(poller, TelegramChat.objects.exists)
        set_chat(feed, CHANNEL_ID, is_allowed=True, by=with_key)
        api.post(ENTRY)
        assert outcome(published(poller, api)) == (AlertState.PUBLISHED, "")
        revoke(with_key)
        poller.refresh()
        assert not poller._polls
        api.post(OTHER)
        set_bot(feed, TOKEN, by=feed.owner)  # the bot is theirs; its chat is not
        assert outcome(published(poller, api)) == (
            AlertState.REFUSED, Code.TELEGRAM_CHAT_NOT_ALLOWED,
        )  # fmt: skip
        set_chat(feed, CHANNEL_ID, is_allowed=True, by=feed.owner)
        api.post(OTHER)
        assert outcome(published(poller, api)) == (AlertState.PUBLISHED, "")

    def test_answer_that_comes_after_the_revocation_stores_nothing(
        self, feed: Feed, with_key: User, poller: TelegramPoller, api: BotApi
    ) -> None:
        set_bot(feed, TOKEN, by=with_key)
        api.post("Hello")
        wait(poller, TelegramChat.objects.exists)
        set_chat(feed, CHANNEL_ID, is_allowed=True, by=with_key)
        IncomingAlert.objects.all().delete()
        wait(poller, lambda: poller._polls)
        api.post(ENTRY)
        poll, answer = poller._answers.get(timeout=SECONDS)
        revoke(with_key)
        poller._settle(poll, answer)
        assert not IncomingAlert.objects.exists()

    def test_bot_ends_when_its_key_does(
        self, feed: Feed, with_key: User, poller: TelegramPoller, api: BotApi
    ) -> None:
        set_bot(feed, TOKEN, by=with_key)
        wait(poller, lambda: poller._polls)
        ApiKey.objects.filter(name="robot").update(expires_at=datetime.now(UTC))
        poller.refresh()
        assert not poller._polls
        assert TelegramBot.objects.get().ended_with_key

    def test_chat_ends_with_the_key_that_allowed_it_and_the_others_count(
        self, feed: Feed, bot: TelegramBot, with_key: User, poller: TelegramPoller, api: BotApi
    ) -> None:
        api.say("hello", sender=55)
        read(poller, api)
        set_chat(feed, GROUP_ID, is_allowed=True, by=with_key)
        set_chat(feed, CHANNEL_ID, is_allowed=True, by=with_key)  # it repeats what a person set
        api.say(ENTRY, sender=55)
        assert outcome(published(poller, api)) == (AlertState.PUBLISHED, "")
        revoke(with_key)
        api.say(OTHER, sender=55)
        assert outcome(published(poller, api)) == (
            AlertState.REFUSED, Code.TELEGRAM_CHAT_NOT_ALLOWED,
        )  # fmt: skip
        api.post(OTHER)
        assert outcome(published(poller, api)) == (AlertState.PUBLISHED, "")

    def test_senders_that_a_key_added_end_the_chat_with_it(
        self, feed: Feed, bot: TelegramBot, with_key: User, poller: TelegramPoller, api: BotApi
    ) -> None:
        api.say("hello", sender=55)
        read(poller, api)
        set_chat(feed, GROUP_ID, is_allowed=True, by=feed.owner)
        set_chat(feed, GROUP_ID, is_allowed=True, sender_ids=[55, 66], by=with_key)
        revoke(with_key)
        api.say(ENTRY, sender=66)
        assert outcome(published(poller, api))[0] == AlertState.REFUSED
        set_chat(feed, GROUP_ID, is_allowed=True, sender_ids=[55], by=feed.owner)
        api.say(ENTRY, sender=55)
        assert outcome(published(poller, api)) == (AlertState.PUBLISHED, "")

    @pytest.mark.parametrize("by", ["person", "another key"])
    @pytest.mark.parametrize("is_revoked", [True, False])
    @pytest.mark.parametrize("is_refused_first", [True, False])
    def test_senders_that_a_key_set_become_anothers_by_name_only(
        self, feed: Feed, bot: TelegramBot, with_key: User, by: str, *, is_revoked: bool,
        is_refused_first: bool,
    ) -> None:  # fmt: skip
        """A repeated call without names must not adopt the sender whom a thief added."""
        TelegramChat.objects.create(
            bot=bot, chat_id=GROUP_ID, kind="group", is_allowed=True, sender_ids=[55]
        )
        set_chat(feed, GROUP_ID, is_allowed=True, sender_ids=[55, 666], by=with_key)
        set_chat(feed, GROUP_ID, is_allowed=True, by=with_key)  # its own call again
        if is_revoked:
            revoke(with_key)
        caller = feed.owner if by == "person" else user_with_key(feed, "innocent")
        if is_refused_first:
            set_chat(feed, GROUP_ID, is_allowed=False, by=caller)
        with pytest.raises(InvalidInputError) as refused:
            set_chat(feed, GROUP_ID, is_allowed=True, by=caller)
        assert (refused.value.code, refused.value.field) == (Code.FIELD_REQUIRED, "sender_ids")
        chat = TelegramChat.objects.get(chat_id=GROUP_ID)
        assert chat.made_with_id == with_key.key_id
        chat = set_chat(feed, GROUP_ID, is_allowed=True, sender_ids=[55], by=caller)
        assert (chat.sender_ids, chat.made_with_id) == ([55], caller.key_id)

    def test_chat_that_a_key_only_refused_stays_a_persons(
        self, feed: Feed, bot: TelegramBot, with_key: User
    ) -> None:
        TelegramChat.objects.create(
            bot=bot, chat_id=GROUP_ID, kind="group", is_allowed=True, sender_ids=[55]
        )
        set_chat(feed, GROUP_ID, is_allowed=False, by=with_key)
        revoke(with_key)
        chat = set_chat(feed, GROUP_ID, is_allowed=True, by=feed.owner)
        assert (chat.sender_ids, chat.made_with_id) == ([55], None)

    def test_forwarded_messages_end_with_the_key_that_allowed_them(
        self, feed: Feed, bot: TelegramBot, with_key: User, poller: TelegramPoller, api: BotApi
    ) -> None:
        origin = {
            "type": "channel", "date": int(time.time()), "message_id": 3,
            "chat": {"id": -100999, "type": "channel", "title": "Rival"},
        }  # fmt: skip
        change_bot(feed, by=with_key, forward_from=[-100999])
        api.post(ENTRY, forward_origin=origin)
        assert outcome(published(poller, api)) == (AlertState.PUBLISHED, "")
        revoke(with_key)
        api.post(OTHER, forward_origin=origin)
        assert outcome(published(poller, api)) == (AlertState.REFUSED, Code.TELEGRAM_FORWARDED)
        change_bot(feed, by=feed.owner, forward_from=[-100999])
        api.post(OTHER, forward_origin=origin)
        assert outcome(published(poller, api)) == (AlertState.PUBLISHED, "")

    def test_new_token_of_a_persons_bot_leaves_it_theirs(
        self, feed: Feed, bot: TelegramBot, with_key: User, poller: TelegramPoller, api: BotApi
    ) -> None:
        set_bot(feed, TOKEN, by=with_key)
        revoke(with_key)
        api.post(ENTRY)
        assert outcome(published(poller, api)) == (AlertState.PUBLISHED, "")
