"""The messages about a user's keys, password and channels. Pure."""

from events.context import EventContext
from events.messages.parts import Lines, utc_minute


def key_made(event: EventContext) -> Lines:
    parent = event.get("made_with")
    if event.get("by") != "owner":
        how = "An administrator made it for you. If you did not request it, revoke it under Keys."
    elif parent:
        how = (
            f"It was made with the key {parent}. If no program of yours did this, revoke that key "
            "now under Keys: this one ends with it."
        )
    else:
        how = (
            "It was made in a browser that is signed in as you. If this was not you, revoke it "
            "under Keys, then change your password."
        )
    *others, last = event.get("scopes").split(", ")
    scopes = f"Its scopes are {', '.join(others)} and {last}" if others else f"Its scope is {last}"
    return (
        f"{_key(event)} was made",
        f"{scopes}; it ends on {utc_minute(event.get('ends_at'))}. {how}",
    )


def key_ends_soon(event: EventContext) -> Lines:
    days = event.get("days")
    return (
        f"{_key(event)} ends in {'1 day' if days == '1' else f'{days} days'}",
        f"It stops working at {utc_minute(event.get('ends_at'))}. Make a new key under Keys, put "
        "it into the program that uses this one, then revoke this one. If it set up alert "
        "addresses, Telegram bots or chats, they end with it, too; set up again what you need.",
    )


def key_ended(event: EventContext) -> Lines:
    return (
        f"{_key(event)} has ended",
        f"Calls with it have been refused since {utc_minute(event.get('ends_at'))}. If a program "
        "still needs it, make a new key under Keys and put it into that program. If it set up "
        "alert addresses, Telegram bots or chats, they have ended, too; set up again what you "
        "need.",
    )


def key_new_network(event: EventContext) -> Lines:
    return (
        f"{_key(event)} was used from a new network",
        f"A call came from {event.get('network')} at {utc_minute(event.get('at'))}; this key was "
        "never used there before. If it is not a program of yours, revoke the key now under Keys.",
    )


def password_changed(event: EventContext) -> Lines:
    if event.get("by") != "owner":
        return (
            "An administrator set a new password for you",
            "All your sessions were signed out. Sign in with the new password and change it under "
            "Security. If you did not request it, contact an administrator.",
        )
    address = event.get("address")
    return (
        "Your password was changed",
        f"Changed{f' from the network address {address}' if address else ''}. All other sessions "
        "were signed out; API keys keep working. If you did not do this, ask an administrator for "
        "a new password at once and revoke the API keys that you do not know.",
    )


def _key(event: EventContext) -> str:
    return f"API key “{event.get('name')}” ({event.get('prefix')}…)"


def channel_test(event: EventContext) -> Lines:
    return ("Fillcast can reach you here", "This is the test message that you requested.")


def channel_confirmation(event: EventContext) -> Lines:
    return (
        "Confirm this address for Fillcast notifications",
        "A Fillcast user asked to receive notifications at this address "
        f"(channel “{event.get('name')}”). To agree, open this page and confirm:",
        event.get("link"),
        f"Or send the code {event.get('code')} through the API. The link is valid for 48 "
        "hours. If you did not expect this message, ignore it: nothing else is sent here.",
    )


def channel_ended(event: EventContext) -> Lines:
    return (
        f"Push messages to “{event.get('name')}” have ended",
        f"{event.get('why')} The browser ends them when notifications of this site are refused "
        "there, its data are cleared, or it is removed. To have them again, open Notifications in "
        "that browser and press “Notify this browser”. Your inbox and other channels do not "
        "change.",
    )
