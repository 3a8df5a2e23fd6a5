"""The file that tells a service what to do: its owner's alone, whole or not there."""

from __future__ import annotations

import logging

import pytest
from task_migration.__main__ import main
from task_migration.errors import Refused
from task_migration.runtime import configuration
from task_migration.runtime.configuration import Configuration

WANTED = Configuration({"laravel_dsn": "host=a", "sink": "database"}, {"forward": 9801, "backward": 9802}, "")


def test_what_was_written_is_read_and_the_second_write_changes_nothing(tmp_path):
    path = tmp_path / "made" / "sync.json"
    assert configuration.write(path, WANTED)
    assert path.stat().st_mode & 0o777 == 0o600
    assert configuration.read(path) == WANTED
    assert not configuration.write(path, WANTED)
    assert [file.name for file in path.parent.iterdir()] == ["sync.json"]


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620])
def test_a_file_that_others_may_read_is_refused_with_the_chmod_to_type(tmp_path, mode):
    path = tmp_path / "sync.json"
    configuration.write(path, WANTED)
    path.chmod(mode)
    with pytest.raises(Refused, match=rf"mode {mode:04o}.*next: chmod 600 {path}"):
        configuration.read(path)
    assert configuration.write(path, WANTED)
    assert configuration.read(path) == WANTED


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"health_ports": 5}', '{"health_ports": {"forward": "x"}}', "\x80"])
def test_what_is_no_configuration_is_refused_and_not_quoted(tmp_path, text):
    path = tmp_path / "sync.json"
    path.write_bytes(text.encode("latin-1"))
    path.chmod(0o600)
    with pytest.raises(Refused, match="is not a valid service configuration"):
        configuration.read(path)


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(Refused, match="cannot read"):
        configuration.read(tmp_path / "sync.json")


def test_the_lag_s_history_is_kept_where_the_file_says(tmp_path):
    assert WANTED.history("forward") is None
    kept = Configuration({}, {}, str(tmp_path))
    assert kept.history("backward") == tmp_path / "lag-backward.jsonl"


def test_the_program_says_what_is_wrong_in_one_line_and_ends_with_1(tmp_path, caplog):
    path = tmp_path / "missing.json"
    with caplog.at_level(logging.INFO):
        assert main(["sync", "--direction", "forward", "--config", str(path)]) == 1
    (line,) = caplog.messages
    assert line.startswith(f"Refused, nothing was changed: cannot read {path}; measured: No such file")


def test_a_fault_of_the_program_is_told_by_its_place_and_not_by_what_it_read(monkeypatch, caplog, tmp_path):
    def fault(_):
        raise KeyError("a title of somebody's")

    monkeypatch.setattr(configuration, "read", fault)
    assert main(["sync", "--direction", "forward", "--config", str(tmp_path / "sync.json")]) == 1
    (line,) = caplog.messages
    assert line.startswith("KeyError, a bug in this program: test_configuration.py:")
    assert "title" not in line
