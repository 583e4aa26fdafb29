"""The list of the archive's files: what was archived, when, and how much."""

from django.contrib import admin
from django.utils.safestring import SafeString

from common.models import ArchiveFile
from common.web.admin import ReadOnlyAdmin, time_column
from common.web.badges import amount


@admin.register(ArchiveFile)
class ArchiveFileAdmin(ReadOnlyAdmin):
    """Parquet files that rows were moved to. `manage.py read_archive` reads them."""

    list_display = (
        "kind", "row_count", time_column("first_at", "From"), time_column("last_at", "To"),
        "kilobytes", time_column("written_at", "Written"), "host", "path",
    )  # fmt: skip
    list_display_links = None
    list_filter = ("kind",)
    search_fields = ("path",)
    ordering = ("-id",)

    @admin.display(description="Rows", ordering="rows")
    def row_count(self, file: ArchiveFile) -> SafeString:
        return amount(file.rows)

    @admin.display(description="kB", ordering="size")
    def kilobytes(self, file: ArchiveFile) -> SafeString:
        return amount(round(file.size / 1_000, 1))
