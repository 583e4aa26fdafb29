"""Finds programs and data folders, and copies them where the servers' user can reach them."""

import contextlib
import hashlib
import importlib.util
import os
import shutil
import tempfile
from importlib import metadata
from pathlib import Path

from ops.embedded.errors import EmbeddedError
from ops.embedded.os_user import ServerUser

# For root only, if the servers' user cannot enter a parent of the folder.
FALLBACK_FOLDERS = (Path("/var/lib"), Path("/var/tmp"))
MIN_FREE_BYTES = 150 * 1024 * 1024


def package_folder(name: str) -> Path | None:
    """Return where an installed package's files are, without importing it."""
    spec = importlib.util.find_spec(name)
    folders = spec.submodule_search_locations if spec else None
    return Path(next(iter(folders))) if folders else None


def version_of(distribution: str) -> str:
    """Return the version of an installed distribution."""
    return metadata.version(distribution)


def require_disk_space(folder: Path) -> None:
    """Raise EmbeddedError if the disk of `folder` is almost full."""
    free = shutil.disk_usage(folder).free
    if free < MIN_FREE_BYTES:
        raise EmbeddedError(
            f"The disk with {folder} is full ({free // 1_000_000} MB left, the database needs"
            f" {MIN_FREE_BYTES // 1_000_000} MB); free disk space or set FILLCAST_VAR to a folder "
            f"elsewhere."
        )


def reachable_folder(folder: Path, identity: ServerUser) -> Path:
    """Return `folder`, created if missing, or another folder if `identity` cannot reach it.

    The path of the other folder is stored next to `folder` (`<name>.elsewhere`) and used again.
    Raises EmbeddedError.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        require_disk_space(folder)
    except OSError as e:
        raise EmbeddedError(f"The folder {folder} cannot be created: {e.strerror}.") from e
    if not identity.dropped or identity.may("x", folder):
        return folder
    note = folder.with_name(f"{folder.name}.elsewhere")
    with contextlib.suppress(OSError):
        known = Path(note.read_text().strip())
        if known.is_dir() and not known.is_symlink() and known.stat().st_uid == os.geteuid():
            return known
    name = f"fillcast-{hashlib.sha256(bytes(folder)).hexdigest()[:8]}-"
    for base in FALLBACK_FOLDERS:
        with contextlib.suppress(OSError):
            made = Path(tempfile.mkdtemp(prefix=name, dir=base))
            made.chmod(0o755)
            if identity.may("x", made):
                note.write_text(f"{made}\n")
                return made
            made.rmdir()
    raise EmbeddedError(
        f"No folder found that the user with id {identity.uid} can reach"
        f" (PostgreSQL never runs as root); set FILLCAST_VAR to one, or set DATABASE_URL."
    )


def reachable_copy(source: Path, beside: list[Path], target: Path, identity: ServerUser) -> Path:
    """Return `source` or, if `identity` cannot reach it, a copy of it below `target`.

    beside: folders or files that must keep their path relative to source's parent. The copy is made
    once and renamed when complete, so that no process sees a part of it.
    """
    if identity.may("r", source) and identity.may("x", source):
        return source
    root = Path(os.path.commonpath([source.parent, *(path.parent for path in beside)]))
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(prefix=".copy-", dir=target.parent))
        for path in (source, *beside):
            destination = unfinished / path.relative_to(root)
            if path.is_dir():
                shutil.copytree(path, destination, symlinks=True, ignore=_ignored)
            else:
                destination.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(path, destination)
        unfinished.chmod(0o755)
        with contextlib.suppress(OSError):  # another process was faster
            unfinished.rename(target)
        shutil.rmtree(unfinished, ignore_errors=True)
    return target / source.relative_to(root)


def _ignored(_folder: str, names: list[str]) -> list[str]:
    return [name for name in names if name == "include" or name.endswith(".a")]
