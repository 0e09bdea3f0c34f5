"""Set or check the version that all packages share: ``python .ci/version.py [--check] 0.2.0``.

Setting it also pins what they require of each other to that very version: they are released together and tested together only.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
_VERSION = re.compile(r'^version = "([^"]+)"$', re.MULTILINE)
_CITED = re.compile(r"^version: (.+)$", re.MULTILINE)
# A requirement, not a package's own name.
_OURS = re.compile(r'(?<!name = )"(losskit(?:-\w+)?(?:\[\w+\])?)(?:[=<>~!][^"]*)?"')


def main() -> int:
    """Run the command; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("version")
    parser.add_argument("--check", action="store_true", help="fail where a package differs")
    parser.add_argument("--root", type=Path, default=ROOT, help="of the repository")
    arguments = parser.parse_args()
    version = arguments.version
    if not re.fullmatch(r"\d+\.\d+\.\d+((a|b|rc)\d+)?", version):
        parser.error(f"{version!r} is not a version such as 1.2.3 or 1.2.3rc1")
    wrong = 0
    packages = sorted(arguments.root.glob("packages/*/pyproject.toml"))
    for path in (*packages, arguments.root / "CITATION.cff"):
        pattern = _CITED if path.suffix == ".cff" else _VERSION
        name = path.name if path.suffix == ".cff" else path.parent.name
        text = path.read_text(encoding="utf-8")
        found = pattern.search(text)
        if found is None or (arguments.check and found[1] != version):
            print(f"{name} is at {found[1] if found else 'no version'}")
            wrong += 1
        elif not arguments.check:
            text = text[: found.start(1)] + version + text[found.end(1) :]
            path.write_text(_OURS.sub(rf'"\g<1>=={version}"', text), encoding="utf-8")
    return 1 if wrong or not packages else 0


if __name__ == "__main__":
    sys.exit(main())
