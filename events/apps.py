from django.apps import AppConfig


class EventsConfig(AppConfig):
    name = "events"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from common.stored_times import register_stored_times
        from common.waiting_work import send_only_if_waiting
        from events.services import ANY_WAITING
        from events.stored_times import TIMES

        register_stored_times(*TIMES)
        send_only_if_waiting("events.deliver", ANY_WAITING)
