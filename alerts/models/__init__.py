"""The inbox of alerts, and the Telegram bots that read them."""

from alerts.models.inbox import AlertSource, AlertState, IncomingAlert, Refusal
from alerts.models.telegram import TelegramBot, TelegramChat, TelegramMessage

__all__ = [
    "AlertSource",
    "AlertState",
    "IncomingAlert",
    "Refusal",
    "TelegramBot",
    "TelegramChat",
    "TelegramMessage",
]
