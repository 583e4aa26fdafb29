"""What a person at the terminal reads when a command cannot work."""

import os
import subprocess
import sys
from pathlib import Path

from common.embedded.ports import free_port

ROOT = Path(__file__).parents[2]


def test_without_its_database_a_command_says_one_sentence() -> None:
    nobody = f"127.0.0.1:{free_port()}"
    env = {
        **os.environ,
        "DATABASE_URL": f"postgresql://somebody:s3cret@{nobody}/none",
        "REDIS_URL": f"redis://{nobody}",
    }
    done = subprocess.run(
        [sys.executable, "manage.py", "audit"],
        cwd=ROOT, env=env, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.startswith("The database does not answer: connection failed")
    assert len(done.stderr.splitlines()) == 1
    assert "s3cret" not in done.stderr
