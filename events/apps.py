from django.apps import AppConfig


class EventsConfig(AppConfig):
    name = "events"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from common.db.stored_times import register_stored_times
        from common.operational.reading import register_check
        from common.process.waiting_work import send_only_if_waiting
        from events.messages.templates import faults_of
        from events.services import ANY_WAITING
        from events.stored_times import TIMES

        register_stored_times(*TIMES)
        register_check(faults_of)
        send_only_if_waiting("events.deliver", ANY_WAITING)
