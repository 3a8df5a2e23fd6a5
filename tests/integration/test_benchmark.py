"""The benchmark measures what it says and leaves nothing behind; small, for its figures mean nothing here."""

import json
import os
import signal
import subprocess
import sys
import tempfile

from benchmark import __main__ as command
from benchmark import capture_cost, syncing
from benchmark.syncing import Load


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


def test_a_small_run_of_the_sync_loses_nothing_and_writes_its_section(tmp_path, monkeypatch, capsys):
    page = tmp_path / "docs" / "benchmarks.md"
    page.parent.mkdir()
    page.write_text("# Benchmarks\n\n## Verify\n\nfigures\n")
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    monkeypatch.setattr(command, "PAGE", page)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(command, "LOADS", (Load(40, 0), Load(40, 20)))
    monkeypatch.setattr(syncing, "WARM_SECONDS", 1)
    monkeypatch.setattr(capture_cost, "KINDS", {"an application's mix": capture_cost.MIX})
    words = ["sync", "--tasks", "1000", "--repetitions", "1", "--seconds", "1", "--drain", "500", "--write"]
    assert command.main(words) == 0, capsys.readouterr().err
    assert list(temporary.iterdir()) == []
    text = page.read_text()
    assert text.startswith("# Benchmarks\n\n## Verify\n\nfigures\n\n## Sync\n")
    assert "not measured" not in text
    assert "| rows that never reached the other side | <= 0 | 0 | yes |" in text
    figures = json.loads(page.with_name("benchmarks-sync.json").read_text())
    ways = [*figures["sync"][0]["forward"], *figures["sync"][1]["forward"], *figures["sync"][1]["backward"]]
    assert all(way["rows"] and 0 < way["p50"] <= way["p95"] <= way["longest"] for way in ways)
    assert figures["native_replication"][0]["rounds"][0]["lost"] == 0
    assert figures["drain"][0]["keys"] > 400
    assert figures["capture"][0]["present"][0] > 0
