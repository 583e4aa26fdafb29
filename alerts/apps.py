from django.apps import AppConfig


class AlertsConfig(AppConfig):
    name = "alerts"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Check the mappings of feeds; name what keys set up and what users may export."""
        from alerts.key_setups import setups
        from alerts.reading import read_mapping, without_secrets
        from alerts.stored_times import TIMES
        from common.db.stored_times import register_stored_times
        from signals.feeds.services import register_mapping_check
        from users.keys.setups import register_setups
        from users.people.data_export import register_export

        register_mapping_check(read_mapping)
        register_stored_times(*TIMES)
        register_setups(setups)
        texts = {"body": without_secrets}
        register_export("alerts", "alerts.IncomingAlert", "feed__owner_id", texts=texts)
        register_export("telegram_bots", "alerts.TelegramBot", "feed__owner_id")
        register_export("telegram_chats", "alerts.TelegramChat", "bot__feed__owner_id")
        messages = "alerts.TelegramMessage"
        register_export("telegram_messages", messages, "feed__owner_id", texts=texts)
