"""Whether this Python was compiled with optimizations.

Those of distributions, of python.org and in Docker's images are; pyenv's are not unless it is asked
to. `deploy/venv.sh` runs this file with each Python that it finds, so it imports nothing of ours.
"""

import sys
import sysconfig


def is_optimized() -> bool:
    """Return whether this Python was built with a profile of its own use, or may have been.

    A build from plain sources states its options. Others (Debian's, Windows') have no flag for
    profiles left, and are optimized.
    """
    if not sysconfig.get_config_var("PGO_PROF_USE_FLAG"):
        return True
    return "--enable-optimizations" in (sysconfig.get_config_var("CONFIG_ARGS") or "")


if __name__ == "__main__":
    sys.exit(not is_optimized())
