from django.apps import AppConfig


class UsersConfig(AppConfig):
    name = "users"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from users import receivers
        from users.data_export import register_export

        receivers.connect()
        register_export("profile", "users.User", "id")
        register_export("api_keys", "users.ApiKey", "user_id")
        register_export("notifications", "events.Notification", "user_id")
