"""Each command says which database it works on; none works on another one silently."""

import os
import subprocess
import sys
from pathlib import Path

from config.development import ROOT
from config.which_database import embedded, named


def test_named_database_is_shown_without_its_password() -> None:
    shown = named("postgresql://fillcast:s3cret@db.example:6432/trading?sslmode=require")
    assert shown == "Database: trading at db.example:6432 (DATABASE_URL)."


def test_embedded_database_is_shown_by_its_folder() -> None:
    assert embedded(Path("var/demo"), "running") == "Database: embedded, in var/demo (running)."
    assert embedded(Path("/srv/x"), "running") == "Database: embedded, in /srv/x (running)."


def run(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    left = {k: v for k, v in os.environ.items() if k not in ("DATABASE_URL", "REDIS_URL")}
    line = [sys.executable, str(ROOT / "manage.py"), *arguments]
    return subprocess.run(
        line, env={**left, **environ}, capture_output=True, text=True, check=False, timeout=100
    )


def test_commands_in_two_folders_each_say_where_they_work(tmp_path: Path) -> None:
    here, there = str(tmp_path / "here"), str(tmp_path / "there")
    first = run("showmigrations", "users", FILLCAST_VAR=here)
    assert f"Database: embedded, in {here} (new and empty)." in first.stderr
    again = run("showmigrations", "users", FILLCAST_VAR=here)
    assert f"Database: embedded, in {here} (started for this command)." in again.stderr
    other = run("showmigrations", "users", FILLCAST_VAR=there)
    assert f"Database: embedded, in {there} (new and empty)." in other.stderr
    assert all(done.returncode == 0 for done in (first, again, other))
    assert all("Database:" not in done.stdout for done in (first, again, other))


def test_command_says_which_database_was_set_for_it_alone() -> None:
    done = run("showmigrations", DATABASE_URL="postgresql://me:secret@127.0.0.1:9/nowhere",
               REDIS_URL="redis://127.0.0.1:9")  # fmt: skip
    assert "Database: nowhere at 127.0.0.1:9 (DATABASE_URL)." in done.stderr
    assert "secret" not in done.stderr
    assert done.returncode != 0


def test_help_starts_and_names_no_database(tmp_path: Path) -> None:
    done = run("audit", "--help", FILLCAST_VAR=str(tmp_path / "none"))
    assert "Database:" not in done.stderr
