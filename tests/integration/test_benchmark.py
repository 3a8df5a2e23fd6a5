"""The benchmark measures what it says and leaves nothing behind; small, for its figures mean nothing here."""

import os
import subprocess
import sys


def test_a_small_run_measures_copy_and_verify_and_leaves_nothing(tmp_path):
    ended = subprocess.run(
        [
            sys.executable,
            "-m",
            "benchmark",
            "--tasks",
            "1000",
            "--plan-tasks",
            "150",
            "--repetitions",
            "1",
            "--ours-only",
        ],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert "not measured:" not in ended.stdout, ended.stderr
    assert "every run named 10" in ended.stdout, ended.stderr
    assert list(tmp_path.iterdir()) == []
