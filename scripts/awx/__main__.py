"""Writes extensions/awx/*.json from the playbooks and parameters.yml: python -m awx"""

from __future__ import annotations

import json

from awx.assets import assets
from awx.playbook import PROJECT

FOLDER = PROJECT / "extensions/awx"
ENVIRONMENTS = ("staging", "production")


def text_of(environment: str) -> str:
    """Returns the contents of the environment's file."""
    return json.dumps(assets(environment), indent=2, ensure_ascii=False) + "\n"


def main() -> None:
    for environment in ENVIRONMENTS:
        file = FOLDER / f"{environment}.json"
        before = file.read_text(encoding="utf-8") if file.exists() else ""
        after = text_of(environment)
        file.write_text(after, encoding="utf-8")
        print(f"{file.relative_to(PROJECT)}: {'unchanged' if after == before else 'written'}")


if __name__ == "__main__":
    main()
