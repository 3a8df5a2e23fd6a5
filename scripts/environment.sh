# Sourced by scripts/rehearse, scripts/test and scripts/bench: goes to the project's root, and creates .venv if needed.
# An outdated or incomplete .venv is recreated. PYTHON selects the interpreter; the default is the newest one on PATH.

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
[ -n "$python" ] || stop "Python 3.11 or later is needed; found: $("${PYTHON:-python3}" --version 2>/dev/null || echo none). Install it, then type the command again."
"$python" -c 'import venv, ensurepip' 2>/dev/null ||
  stop "This Python cannot create virtual environments. On Debian and Ubuntu: apt install python3-venv. Then type the command again."

command -v terraform >/dev/null || stop "terraform is not installed: https://developer.hashicorp.com/terraform/install. Then type the command again."
terraform_version=$(terraform version 2>/dev/null | sed -n 's/^Terraform v\([0-9]*\.[0-9]*\).*/\1/p' || true)
case "$terraform_version" in
  "" | 0.* | 1.[0-9]) stop "Terraform 1.10 or later is needed; found: ${terraform_version:-none}. Install it, then type the command again." ;;
esac

# The hash of what .venv was installed from. It is written last, so an incomplete .venv has none.
wanted=$("$python" -c 'import hashlib, pathlib, sys
files = (pathlib.Path(name).read_bytes() for name in ("pyproject.toml", "requirements.txt"))
print(hashlib.sha256(b"\0".join([*files, sys.version.encode(), str(pathlib.Path.cwd()).encode()])).hexdigest())')
if [ "$(cat .venv/installed-from 2>/dev/null)" != "$wanted" ] || ! .venv/bin/python -c '' 2>/dev/null; then
  echo "Installing into .venv. This is done once."
  rm -rf .venv
  "$python" -m venv .venv
  .venv/bin/python -m pip install -qq --disable-pip-version-check -e '.[lab,dev]'
  printf '%s\n' "$wanted" >.venv/installed-from
fi
export PATH="$PWD/.venv/bin:$PATH"
# Without bytecode each of the many processes would compile the core again.
unset VIRTUAL_ENV PYTHONHOME PYTHONPATH ANSIBLE_CONFIG PYTHONDONTWRITEBYTECODE
