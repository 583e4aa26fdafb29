from django.apps import AppConfig


class CommonConfig(AppConfig):
    name = "common"

    def ready(self) -> None:
        """Refuse to save whole rows during requests (common/row_changes.py)."""
        from common import row_changes

        row_changes.connect()
