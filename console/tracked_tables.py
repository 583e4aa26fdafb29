"""The tables of the audit trail, and their columns whose values it does not keep.

They hold everything that decides about money, rights or the recipients of messages. A test compares
this list with the database's triggers. A change needs a migration that uses
`common.db.audit_trail_sql.track`.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Tracked:
    """A table of the trail.

    secrets: columns recorded as "(secret)". ignored: columns that processes write often; a change
    of these alone is not recorded.
    """

    table: str
    label: str
    secrets: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()


TRACKED = (
    Tracked("users_user", "user", ("password",), ("last_login",)),
    Tracked("users_user_groups", "membership of a group"),
    Tracked("users_user_user_permissions", "permission of a user"),
    Tracked("auth_group", "group"),
    Tracked("auth_group_permissions", "permission of a group"),
    Tracked("users_apikey", "API key", ("secret_hash",), ("last_used_at",)),
    Tracked("users_secondfactor", "second factor", ("sealed_secret",), ("last_step",)),
    Tracked("users_recoverycode", "recovery code", ("code_hash",)),
    Tracked("common_settingsversion", "version of the settings"),
    Tracked("users_invitation", "invitation", ("secret_hash",)),
    Tracked("signals_feed", "feed"),
    Tracked("signals_approvalrequest", "request for approval of a feed"),
    Tracked("signals_feedtoken", "alert address", ("secret_hash", "signing_key")),
    Tracked(
        "alerts_telegrambot",
        "Telegram bot",
        ("token_sealed",),
        (
            "username",
            "checked_at",
            "contact_at",
            "update_at",
            "next_offset",
            "refused_count",
            "error_code",
            "error_detail",
            "error_at",
            "failures",
            "due_at",
            "holder",
            "fence",
            "lease_until",
        ),
    ),
    Tracked("alerts_telegramchat", "Telegram chat"),
    Tracked(
        "events_channel",
        "notification channel",
        ("url_sealed", "secret_sealed", "previous_secret_sealed"),
        ("consecutive_failures", "last_error", "last_sent_at", "backoff_until", "test_event_id"),
    ),
    Tracked("connections_dataconnection", "price source"),
    Tracked(
        "connections_executionconnection",
        "connection",
        ("sealed_credentials", "credentials_claim"),
        ("broker_host", "lane", "account_scope", "identity", "identity_credentials_digest"),
    ),
    Tracked("connections_tradingpreset", "preset"),
    Tracked("connections_subscription", "subscription"),
    Tracked("connections_subscriptionroute", "account of a route"),
    Tracked("buses_busroute", "route from a bus"),
    Tracked(
        "buses_buslane",
        "lane from a bus",
        (),
        (
            "polled_at",
            "failures",
            "last_error",
            "last_error_at",
            "alerted_at",
            "cursor",
            "bus",
            "position",
            "last_message_at",
        ),
    ),
    Tracked("buses_busmessage", "decision about a message from a bus", (), ("body",)),
    Tracked("connections_subscriptiontwin", "paper twin"),
    Tracked("connections_killswitch", "kill switch"),
    Tracked("connections_decisionprovider", "decision provider", ("secret_sealed",)),
    Tracked("connections_newscalendar", "news calendar"),
    Tracked("connections_losslimit", "loss limit"),
    Tracked("connections_tradingpause", "trading pause"),
    Tracked("connections_cashflow", "deposit or withdrawal"),
    Tracked("execution_scopedaction", "cancellation or closing of many"),
    Tracked("connections_maintenancewindow", "maintenance window"),
    Tracked(
        "django_celery_beat_periodictask",
        "schedule",
        (),
        ("last_run_at", "total_run_count", "date_changed"),
    ),
    Tracked("django_celery_beat_intervalschedule", "interval of a schedule"),
    Tracked("django_celery_beat_crontabschedule", "crontab of a schedule"),
    Tracked("django_celery_beat_clockedschedule", "time of a schedule"),
    Tracked("django_celery_beat_solarschedule", "solar time of a schedule"),
)
LABELS = {one.table: one.label for one in TRACKED}
