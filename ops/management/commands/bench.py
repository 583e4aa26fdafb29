"""manage.py bench: run the benchmarks, each next to its baseline in the same run."""

import os
import sys
from collections.abc import Sequence

from django.core.management.base import BaseCommand, CommandError

from config.installation import ROOT


class Command(BaseCommand):
    """Replace this process by `python -m benchmarks`, which may import every app."""

    help = (
        "Measure Fillcast next to a plain implementation of the same work. See docs/performance.md."
    )

    def run_from_argv(self, argv: Sequence[str]) -> None:
        """Pass the arguments on. This process becomes the benchmarks'. Raises CommandError."""
        if not (ROOT / "benchmarks").is_dir():
            raise CommandError(
                "The benchmarks are not part of this image; run them from a checkout."
            )
        os.chdir(ROOT)
        sys.stdout.flush()
        os.execv(sys.executable, [sys.executable, "-m", "benchmarks", *argv[2:]])
