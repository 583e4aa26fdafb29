"""The audit trail follows the Telegram bots of feeds and their chats."""

from django.db import migrations

from common.audit_trail_sql import track

# What the poller writes with each answer of Telegram is no change that a person made.
STATE = (
    "username", "checked_at", "contact_at", "update_at", "next_offset", "refused_count",
    "error_code", "error_detail", "error_at", "failures", "due_at", "holder", "fence",
    "lease_until",
)  # fmt: skip


class Migration(migrations.Migration):
    dependencies = [("config", "0005_feed_records"), ("signals", "0023_telegram")]
    operations = [
        track("signals_telegrambot", secrets=("token_sealed",), ignored=STATE),
        track("signals_telegramchat", secrets=(), ignored=()),
    ]
