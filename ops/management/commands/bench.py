"""manage.py bench: measure, each thing beside its baseline in the same run."""

import os
import sys
from collections.abc import Sequence

from django.core.management.base import BaseCommand, CommandError

from config.installation import ROOT


class Command(BaseCommand):
    """Become `python -m benchmarks`: the benches are built on all the rest, commands too."""

    help = "Measure Fillcast beside the plain way of doing the same. See docs/performance.md."

    def run_from_argv(self, argv: Sequence[str]) -> None:
        """Hand the arguments on. This process becomes the benches' own."""
        if not (ROOT / "benchmarks").is_dir():
            raise CommandError("The benches are not part of this image; run them from a checkout.")
        os.chdir(ROOT)
        sys.stdout.flush()
        os.execv(sys.executable, [sys.executable, "-m", "benchmarks", *argv[2:]])
