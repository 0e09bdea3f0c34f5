"""Set or check the version that all packages share: ``python .ci/version.py [--check] 0.2.0``."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
_VERSION = re.compile(r'^version = "([^"]+)"$', re.MULTILINE)
_CORE = re.compile(r'"losskit(\[\w+\])?(?:[=<>~!][^"]*)?"')


def main() -> int:
    """Run the command; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("version")
    parser.add_argument("--check", action="store_true", help="fail where a package differs")
    arguments = parser.parse_args()
    if not re.fullmatch(r"\d+\.\d+\.\d+((a|b|rc)\d+)?", arguments.version):
        parser.error(f"{arguments.version!r} is not a version such as 1.2.3 or 1.2.3rc1")
    wrong = 0
    for path in sorted(ROOT.glob("packages/*/pyproject.toml")):
        text = path.read_text()
        found = _VERSION.search(text)
        if found is None or (arguments.check and found[1] != arguments.version):
            print(f"{path.parent.name} is at {found[1] if found else 'no version'}")
            wrong += 1
        elif not arguments.check:
            text = _VERSION.sub(f'version = "{arguments.version}"', text, count=1)
            # A plugin and its core are released together and tested together only.
            path.write_text(_CORE.sub(rf'"losskit\g<1>=={arguments.version}"', text))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
