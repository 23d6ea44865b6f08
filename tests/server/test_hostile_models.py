"""A share of `make test-hostile-models`."""

from __future__ import annotations

import re
import subprocess
import sys


def test_models_that_mean_harm_end_their_process_unserved_and_leave_no_mark():
    command = [sys.executable, "-m", "tests.server.hostile_models", "--every", "33"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert re.search(
        r"samples [4-9], .* marks 0, wrong ends 0, a good model served 1$", ended.stdout.strip()
    )
