from django.apps import AppConfig


class EventsConfig(AppConfig):
    name = "events"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from common.waiting_work import send_only_if_waiting
        from events.services import ANY_WAITING

        send_only_if_waiting("events.deliver", ANY_WAITING)
