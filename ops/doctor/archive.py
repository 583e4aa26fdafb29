"""The doctor's check of the archive: whether old rows leave the database."""

from datetime import datetime

from django.db.models import Count, Max, Sum

from brokers.types import Check
from common.models import ArchiveFile
from config.retention import archive_folder, has_policy, obstacle
from ops.doctor.verdicts import CheckFunction, warning, well


def archive() -> Check:
    """Check that old rows can be archived, or that no policy wants it."""
    name = "archive"
    if not has_policy():
        return well(name, "Every row stays in the database: no policy limits how long.")
    files = ArchiveFile.objects.aggregate(
        number=Count("id"), rows=Sum("rows"), at=Max("written_at")
    )
    if reason := obstacle():
        remedy = (
            "Logs and events grow without end. Run this where maintenance runs, which archives. If"
            " it says the same there, mount a volume or set retention.archive_folder, or set the"
            " days of retention to never: docs/retention.md."
        )
        return warning(name, f"{reason} No old row is archived.", remedy)
    return judge_archive(files["number"], files["rows"] or 0, files["at"])


def judge_archive(files: int, archived: int, at: datetime | None) -> Check:
    """Judge the archive's folder, as this process sees it."""
    name, folder = "archive", archive_folder()
    if files and not folder.is_dir():
        remedy = "Mount the folder, or restore it from a backup, then `manage.py archive --verify`."
        return warning(name, f"{folder} does not exist, and {files} files are in it.", remedy)
    if at is None:
        return well(name, "Nothing is old enough to be archived yet.")
    return well(name, f"{archived:,} rows in {files:,} files, the last of {at:%Y-%m-%d %H:%M}.")


CHECKS: list[tuple[str, CheckFunction]] = [("archive", archive)]
