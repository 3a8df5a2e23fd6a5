# Sourced by scripts/rehearse, scripts/test and scripts/bench: goes to the project's root and makes sure of its own .venv.
# No virtual environment has to be active; one that is stale or half made is made anew or brought up to date. PYTHON names
# another interpreter than the newest one that is found.

cd "$(dirname "${BASH_SOURCE[0]}")/.."

stop() {
  printf '%s\n' "$*" >&2
  exit 1
}

python=""
for candidate in ${PYTHON:-python3.13 python3.12 python3.11 python3 python}; do
  if command -v "$candidate" >/dev/null && "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    python=$candidate
    break
  fi
done
[ -n "$python" ] || stop "Python 3.11 or later is needed; found: $("${PYTHON:-python3}" --version 2>/dev/null || echo none). Install it, then type this again."
"$python" -c 'import venv, ensurepip' 2>/dev/null ||
  stop "This Python can't make virtual environments; on Debian and Ubuntu: apt install python3-venv. Then type this again."

command -v terraform >/dev/null || stop "terraform is not installed: https://developer.hashicorp.com/terraform/install. Then type this again."
terraform_version=$(terraform version 2>/dev/null | sed -n 's/^Terraform v\([0-9]*\.[0-9]*\).*/\1/p' || true)
case "$terraform_version" in
  "" | 0.* | 1.[0-9]) stop "Terraform 1.10 or later is needed; found: ${terraform_version:-none}. Install it, then type this again." ;;
esac

# What is installed is known by what it was installed from; written last, so that a half-made .venv is never believed.
wanted=$("$python" -c 'import hashlib, pathlib, sys
files = (pathlib.Path(name).read_bytes() for name in ("pyproject.toml", "requirements.txt"))
print(hashlib.sha256(b"\0".join([*files, sys.version.encode(), str(pathlib.Path.cwd()).encode()])).hexdigest())')
if [ "$(cat .venv/installed-from 2>/dev/null)" != "$wanted" ] || ! .venv/bin/python -c '' 2>/dev/null; then
  echo "Installing into .venv; this is done once."
  rm -rf .venv
  "$python" -m venv .venv
  .venv/bin/python -m pip install -qq --disable-pip-version-check -e '.[lab,dev]'
  printf '%s\n' "$wanted" >.venv/installed-from
fi
export PATH="$PWD/.venv/bin:$PATH"
unset VIRTUAL_ENV PYTHONHOME PYTHONPATH ANSIBLE_CONFIG
