from django.apps import AppConfig


class BusesConfig(AppConfig):
    name = "buses"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from analytics.signals import day_computed
        from buses.alarm import any_to_report
        from buses.announcements import on_day_computed
        from buses.stored_times import TIMES
        from common.db.stored_times import register_stored_times
        from common.process.waiting_work import send_only_if_waiting

        register_stored_times(*TIMES)
        send_only_if_waiting("buses.watch", *any_to_report())
        day_computed.connect(on_day_computed, dispatch_uid="buses.day_computed")
