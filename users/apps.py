from django.apps import AppConfig


class UsersConfig(AppConfig):
    name = "users"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from common.process.waiting_work import send_only_if_waiting
        from users import receivers
        from users.keys import channels as key_channels
        from users.keys.setups import register_setups
        from users.mails import account_mails
        from users.people.data_export import ANY_TO_DO, register_export, register_rows
        from users.sign_in.login_sessions import EXPORTED, exported_sessions

        receivers.connect()
        register_setups(key_channels.setups)
        mails = {"kept": account_mails.KEPT_FOR}
        send_only_if_waiting("users.send_account_mails", account_mails.ANY_TO_DO, mails)
        send_only_if_waiting("users.build_data_exports", ANY_TO_DO)
        register_export("profile", "users.User", "id")
        register_export("api_keys", "users.ApiKey", "user_id")
        register_export("networks_of_api_keys", "users.ApiKeyNetwork", "key__user_id")
        register_export("second_factor", "users.SecondFactor", "user_id")
        register_export("mails_about_the_login", "users.AccountMail", "user_id")
        register_rows("sessions", EXPORTED, exported_sessions)
        register_export("notifications", "events.Notification", "user_id")
        when = ["digest", "digest_at"]  # a channel sends
        register_export("channels", "events.Channel", "user_id", not_secret=when)
        register_export("messages_of_channels", "events.WebhookMessage", "channel__user_id")
        register_export("tries_of_messages", "events.WebhookAttempt", "channel__user_id")
