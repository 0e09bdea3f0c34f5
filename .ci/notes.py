"""Print what a version changed, in Markdown: ``python .ci/notes.py 1.2.3 > notes.md``.

A release's changes are its section of CHANGELOG.md, which ``towncrier build`` writes before the tag; a
release candidate's are the fragments that wait in changelog.d/.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def main() -> int:
    """Run the command; returns the exit code, 1 where nothing says what changed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("version")
    parser.add_argument("--root", type=Path, default=ROOT, help="of the repository")
    arguments = parser.parse_args()
    version, root = arguments.version, arguments.root
    candidate = re.search(r"[a-z]", version) is not None
    waiting = sorted(p.name for p in (root / "changelog.d").glob("*.md") if p.name != "README.md")
    notes = section(version, (root / "CHANGELOG.md").read_text(encoding="utf-8"))
    if waiting and not candidate:
        print(
            f"{', '.join(waiting)}: not in the changelog yet; run "
            f"`uv run towncrier build --yes --version {version}` and tag the commit with its work",
            file=sys.stderr,
        )
        return 1
    if not notes and candidate:
        command = ["towncrier", "build", "--draft", "--dir", str(root), "--version", version]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        notes = section(version, done.stdout)
    if not notes:
        print(f"CHANGELOG.md has no section for {version}", file=sys.stderr)
        return 1
    print(notes)
    return 0


def section(version: str, text: str) -> str:
    """The text below ``## VERSION (date)``, up to the next version."""
    found = re.search(rf"^## {re.escape(version)} \(.*\)\n(.*?)(?=^## |\Z)", text, re.M | re.S)
    return found[1].strip() if found else ""


if __name__ == "__main__":
    sys.exit(main())
