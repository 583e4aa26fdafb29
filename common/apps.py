from django.apps import AppConfig


class CommonConfig(AppConfig):
    name = "common"

    def ready(self) -> None:
        """Refuse to save whole rows during requests (common/db/row_changes.py)."""
        from common.db import row_changes

        row_changes.connect()
