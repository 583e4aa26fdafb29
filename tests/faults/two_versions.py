"""Two versions of the code: what is on the main branch, and this checkout with more migrations."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.faults.servers import ROOT

COLUMN = "upgrade_note"
APPS = sorted(
    {path.parent.parent.name for path in ROOT.glob("*/migrations/__init__.py")} - {"config"}
)
# Models that the new code reads and writes with the new column; of others only the table has it.
KNOWN = {
    "signals/models/__init__.py": "Signal",
    "connections/models/__init__.py": "ExecutionConnection",
    "execution/models/__init__.py": "Order",
    "positions/models.py": "ExecutionPosition",
    "events/models.py": "Event",
}
MIGRATION = """
from django.db import migrations, models
from common.db.index_migrations import BuildIndex

def note():
    return models.CharField(max_length=8, default="", db_default="")

class Migration(migrations.Migration):
    atomic = False
    dependencies = [("{app}", "{leaf}")]
    operations = [migrations.AddField(name, "{column}", note()) for name in {models}] + {more}
"""
MORE = """[
    BuildIndex("order", models.Index(fields=["{column}"], name="order_upgrade_note")),
    migrations.CreateModel("UpgradeNote", [
        ("id", models.BigAutoField(primary_key=True)),
        ("order", models.ForeignKey("execution.Order", models.CASCADE)),
    ]),
]""".replace("{column}", COLUMN)
MODEL = """
from django.db import models as _models
{model}.add_to_class("{column}", _models.CharField(max_length=8, default="", db_default=""))
"""
LIST = """
import json, os, sys
os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"
import django; django.setup()
from django.apps import apps
from django.db.migrations.loader import MigrationLoader
leaves = dict(MigrationLoader(None).graph.leaf_nodes())
print(json.dumps({a: [leaves[a], [m._meta.model_name for m in apps.get_app_config(a).get_models()
    if m._meta.managed and not m._meta.proxy]] for a in sys.argv[1:]}))
"""


class NoOldCodeError(Exception):
    """This clone does not know the main branch."""


def old_commit() -> str:
    """Return the newest commit of main, or the one that TEST_OLD_COMMIT names.

    Raises NoOldCodeError.
    """
    names = [os.environ.get("TEST_OLD_COMMIT", ""), "origin/main", "main"]
    for name in filter(None, names):
        line = ["git", "rev-parse", "--verify", "--quiet", f"{name}^{{commit}}"]
        done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return done.stdout.strip()
    raise NoOldCodeError("set TEST_OLD_COMMIT to a commit of this clone")


def unpack(commit: str, folder: Path) -> Path:
    """Write the files of a commit into a folder; return it."""
    folder.mkdir()
    archive = subprocess.Popen(["git", "archive", commit], cwd=ROOT, stdout=subprocess.PIPE)
    subprocess.run(["tar", "-x"], cwd=folder, stdin=archive.stdout, check=True)
    assert archive.wait(60) == 0
    return folder


def next_version(folder: Path, environ: Mapping[str, str]) -> Path:
    """Copy this checkout into a folder, and let each table have one more column."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    line = [sys.executable, "-c", LIST, *APPS]
    found = subprocess.run(
        line, cwd=folder, env=environ, capture_output=True, text=True, check=True
    )
    listing: dict[str, tuple[str, list[str]]] = json.loads(found.stdout.splitlines()[-1])
    for app, (leaf, models) in listing.items():
        text = MIGRATION.format(
            app=app, leaf=leaf, column=COLUMN, models=models,
            more=MORE if app == "execution" else "[]",
        )  # fmt: skip
        (folder / app / "migrations" / "9999_upgrade_note.py").write_text(text)
    for name, model in KNOWN.items():
        with (folder / name).open("a") as file:
            file.write(MODEL.format(model=model, column=COLUMN))
    return folder
