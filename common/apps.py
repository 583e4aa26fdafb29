from django.apps import AppConfig


class CommonConfig(AppConfig):
    name = "common"

    def ready(self) -> None:
        """Watch that no row is saved whole while a request is answered."""
        from common import row_changes

        row_changes.connect()
