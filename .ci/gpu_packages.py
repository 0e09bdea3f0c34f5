"""Say which packages `.ci/gpu` finds, and name losskit's plugins where they are not installed.

Usage: .ci/gpu_packages.py FOLDER; without an installation FOLDER gets the metadata of every package.
"""

from __future__ import annotations

import importlib.util
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

REQUIRED = {
    "torch": "torch",
    "torchvision": "torchvision",
    "numpy": "numpy",
    "pluggy": "pluggy",
    "yaml": "PyYAML",
    "jaxtyping": "jaxtyping",
    "safetensors": "safetensors",
    "pytest": "pytest",
}
OPTIONAL = {
    "piq": ("piq", "its content and style losses"),
    "lpips": ("lpips", "its LPIPS"),
    "pytorch_msssim": ("pytorch-msssim", "its SSIM and MS-SSIM"),
    "kornia": ("kornia", "its SSIM"),
    "fussim": ("fussim", "the fused SSIM kernels"),
    "open_clip": ("open-clip-torch", "CLIP losses"),
}
ROOT = Path(__file__).resolve().parents[1]


def described(distribution: str) -> str:
    """Name and version, where it is known."""
    try:
        return f"{distribution} {version(distribution)}"
    except PackageNotFoundError:
        return distribution


def write_metadata(folder: Path) -> None:
    """What an installation would leave: names, versions and entry points."""
    for path in sorted(ROOT.glob("packages/*/pyproject.toml")):
        project = tomllib.loads(path.read_text(encoding="utf-8"))["project"]
        name = project["name"].replace("-", "_")
        info = folder / f"{name}-0.dist-info"
        info.mkdir(parents=True, exist_ok=True)
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: 0\n", encoding="utf-8"
        )
        groups = {"console_scripts": project.get("scripts", {}), **project.get("entry-points", {})}
        lines = []
        for group, entries in groups.items():
            lines += [f"[{group}]", *(f"{key} = {value}" for key, value in entries.items()), ""]
        (info / "entry_points.txt").write_text("\n".join(lines), encoding="utf-8")


def main() -> int:
    """Fail where a required package is missing."""
    missing = [name for module, name in REQUIRED.items() if not importlib.util.find_spec(module)]
    print("Python", sys.version.split()[0])
    for name in REQUIRED.values():
        print("MISSING" if name in missing else "found", described(name))
    for module, (name, use) in OPTIONAL.items():
        found = importlib.util.find_spec(module) is not None
        print(f"found {described(name)}" if found else f"without {name}: {use} left out")
    if importlib.util.find_spec("losskit") is None:
        write_metadata(Path(sys.argv[1]))
        print("losskit is not installed: its sources are used")
    if missing:
        print(f"install {', '.join(missing)} first")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
