"""What scripts/rehearse and scripts/test do before they begin: on any machine, from any half-made state."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

PYTHON = """#!/bin/sh
if [ "$1 $2" = "-m venv" ]; then
  mkdir -p "$3/bin" && echo made >>made
  cat >"$3/bin/python" <<'END'
#!/bin/sh
[ "$1 $2" = "-m pip" ] || exit 0
echo "$@" >>installed
exit "$(cat pip-fails 2>/dev/null || echo 0)"
END
  exec chmod +x "$3/bin/python"
fi
exec {python} "$@"
"""


class Machine:
    """A folder with the project's files, and a PATH on which only what the test puts there is found."""

    def __init__(self, project, folder):
        self.folder, self.bin = folder / "project", folder / "bin"
        (self.folder / "scripts").mkdir(parents=True)
        self.bin.mkdir()
        for name in ("scripts/environment.sh", "pyproject.toml", "requirements.txt"):
            shutil.copy(project / name, self.folder / name)
        for tool in ("cat", "chmod", "dirname", "mkdir", "rm", "sed"):
            (self.bin / tool).symlink_to(shutil.which(tool))
        self.put("python3", PYTHON.replace("{python}", sys.executable))
        self.put("terraform", "#!/bin/sh\necho Terraform v1.11.4\n")

    def put(self, name, text):
        (self.bin / name).write_text(text)
        (self.bin / name).chmod(0o755)

    def begin(self, **more):
        done = subprocess.run(
            [shutil.which("bash"), "-c", "set -euo pipefail; source scripts/environment.sh; echo begun"],
            cwd=self.folder,
            env={"PATH": str(self.bin), "HOME": "/nonexistent", **more},
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode == 0 and done.stdout.endswith("begun\n"), done.stdout + done.stderr

    def times(self, what):
        file = self.folder / what
        return len(file.read_text().splitlines()) if file.exists() else 0


@pytest.fixture
def machine(project, tmp_path):
    return Machine(project, tmp_path)


def test_it_installs_once(machine):
    for _ in range(2):
        assert machine.begin()[0]
    assert (machine.times("made"), machine.times("installed")) == (1, 1)


@pytest.mark.parametrize("file", ["pyproject.toml", "requirements.txt"])
def test_it_installs_again_when_what_is_needed_has_changed(machine, file):
    machine.begin()
    with (machine.folder / file).open("a") as end:
        end.write("# more\n")
    assert machine.begin()[0]
    assert machine.times("installed") == 2


def test_an_installation_that_failed_is_not_believed(machine):
    (machine.folder / "pip-fails").write_text("1")
    assert not machine.begin()[0]
    (machine.folder / "pip-fails").unlink()
    assert machine.begin()[0]
    assert machine.times("made") == 2


def test_a_venv_whose_python_is_gone_is_made_anew(machine):
    machine.begin()
    (machine.folder / ".venv/bin/python").unlink()
    assert machine.begin()[0]
    assert machine.times("made") == 2


def test_a_venv_that_came_with_a_copy_of_the_folder_is_made_anew(machine):
    machine.begin()
    elsewhere = machine.folder.parent / "elsewhere"
    shutil.copytree(machine.folder, elsewhere)
    machine.folder = elsewhere
    assert machine.begin()[0]
    assert machine.times("made") == 2


def test_another_interpreter_can_be_named(machine):
    machine.put("python3.99", PYTHON.replace("{python}", sys.executable).replace("echo made", "echo made by 3.99"))
    assert machine.begin(PYTHON="python3.99")[0]
    assert (machine.folder / "made").read_text() == "made by 3.99\n"


def test_an_interpreter_that_was_named_and_is_not_here_is_not_another_one(machine):
    begun, printed = machine.begin(PYTHON="python3.98")
    assert not begun
    assert "found: none" in printed


OLD_PYTHON = """#!/bin/sh
[ "$1" = --version ] && echo Python 3.9.2
exit 1
"""


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("python3", OLD_PYTHON, "Python 3.11 or later is needed; found: Python 3.9.2"),
        ("terraform", None, "terraform is not installed"),
        ("terraform", "#!/bin/sh\necho Terraform v1.5.7\n", "Terraform 1.10 or later is needed; found: 1.5"),
        ("terraform", "#!/bin/sh\nexit 1\n", "Terraform 1.10 or later is needed; found: none"),
    ],
)
def test_what_is_missing_is_said_and_nothing_is_made(machine, name, text, said):
    (machine.bin / name).unlink()
    if text is not None:
        machine.put(name, text)
    begun, printed = machine.begin()
    assert not begun
    assert said in printed
    assert "Traceback" not in printed
    assert machine.times("made") == 0
