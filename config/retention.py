"""Everything that can be archived, and the command that archives it in a process of its own."""

import subprocess
import sys
from pathlib import Path

import structlog
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from common.archive import parquet_files
from common.archive.kinds import ArchiveKind
from common.operational.current import settings_now
from config.installation import ROOT
from events import retention as events
from execution import retention as execution

log = structlog.get_logger(__name__)
KINDS: dict[str, ArchiveKind] = {kind.name: kind for kind in (*events.KINDS, *execution.KINDS)}
"""By name, in the order in which they are archived."""
SECONDS_A_RUN = 300
_running: subprocess.Popen[bytes] | None = None


def obstacle() -> str:
    """Return why nothing can be archived; "" if nothing prevents it."""
    if (folder := _folder()) is None:
        return "retention.archive_folder is not set, and no volume is mounted for it here."
    if settings_now().retention.archive_folder and not folder.is_dir():
        return f"There is no folder {folder} (retention.archive_folder) here: create or mount it."
    if not parquet_files.is_available():
        return "The package pyarrow is not installed."
    return ""


def archive_folder() -> Path:
    """Return the archive's folder. Raises ImproperlyConfigured if none is set."""
    if (folder := _folder()) is None:
        raise ImproperlyConfigured("retention.archive_folder is not set.")
    return folder


def _folder() -> Path | None:
    if named := settings_now().retention.archive_folder:
        return Path(named)
    own = Path(settings.FILLCAST_VAR) / "archive"
    return own if settings.FILLCAST_ENV != "production" or _is_mounted(own) else None


def _is_mounted(folder: Path) -> bool:
    """Whether a volume is mounted there. os.path.ismount misses one of the same file system."""
    try:
        mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    except OSError:
        return False
    return any(line.split()[4] == str(folder.resolve()) for line in mounts)


def has_policy() -> bool:
    """Whether any kind of rows is kept for a limited time only."""
    return any(kind.kept_for is not None for kind in KINDS.values())


def start_archiving() -> bool:
    """Start `manage.py archive --now` unless it still runs; return whether it was started.

    It is a process of its own, so that pyarrow is in no worker's memory and no other task waits. It
    may be killed at any moment.
    """
    global _running
    if _running is not None and _running.poll() is None:
        return False
    if _running is not None and _running.returncode:
        log.error("archiving failed", exit_code=_running.returncode)
    _running = None
    if not has_policy():
        return False
    if reason := obstacle():
        log.warning("nothing is archived", reason=reason)
        return False
    line = [sys.executable, str(ROOT / "manage.py"), "archive", "--now"]
    _running = subprocess.Popen([*line, "--seconds", str(SECONDS_A_RUN)], stdin=subprocess.DEVNULL)
    return True
