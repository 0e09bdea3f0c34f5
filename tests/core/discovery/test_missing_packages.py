"""Every command in an environment that lacks an optional package: it works, or one line says the extra."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from losskit.discovery.extras import install_of, require, requirements_of

# Blocks modules as if they were not installed, then runs the command line as at a terminal.
RUN = """
import sys
blocked, *words = sys.argv[1:]
for name in blocked.split(","):
    sys.modules[name] = None
sys.stderr.isatty = lambda: True
from losskit.cli import main
sys.exit(main(words))
"""
IMAGES, TRAIN, DEMO = "'losskit[images]'", "losskit-train", "'losskit-train[demo]'"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for side, grey in (("a", 50), ("b", 60)):
        (tmp_path / side).mkdir()
        for number in range(9):
            Image.new("RGB", (16, 16), (grey, 9 * number, 0)).save(
                tmp_path / side / f"{number}.png"
            )
    (tmp_path / "mmagic.py").write_text("model = dict(pixel_loss=dict(type='L1Loss'))")
    (tmp_path / "o.yaml").write_text(
        "terms: [{type: L1Loss, data_info: {pred: pred, target: target}}]"
    )
    return tmp_path


def run(folder: Path, blocked: str, command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", RUN, blocked, *command.split()],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("blocked", ["numpy", "PIL", "numpy,PIL"])
@pytest.mark.parametrize(
    ("command", "extra"),
    [
        ("eval a b", IMAGES),
        ("optimize o.yaml --size 16 --steps 1", IMAGES),
        ("balance o.yaml --pred a --target b", IMAGES),
        ("atlas --loss L1Loss --out out", IMAGES),
        ("atlas --loss L1Loss --out out --image a/0.png", IMAGES),
        ("train config.yaml", TRAIN),
        ("sample runs", TRAIN),
        ("export runs", TRAIN),
        ("demo", DEMO),
    ],
)
def test_one_line_names_the_extra(folder: Path, blocked: str, command: str, extra: str) -> None:
    done = run(folder, blocked, command)
    assert done.returncode == 1
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    for module, package in (("numpy", "numpy"), ("PIL", "pillow")):
        assert (package in line) == (module in blocked)
    assert f"pip install {extra}" in line


@pytest.mark.parametrize(
    ("blocked", "command", "extra"),
    [
        ("numpy", "curves runs", "numpy"),
        ("lightning_fabric,lightning", "train config.yaml", TRAIN),
        ("rich", "train config.yaml", TRAIN),
        ("safetensors", "export runs", "'losskit-train[export]'"),
        ("onnxscript", "export runs --kind onnx", "'losskit-train[export]'"),
        ("skimage", "demo", DEMO),
        ("matplotlib", "demo", DEMO),
        (
            "timm",
            "eval a b --loss PerceptualLoss:backbone=timm/resnet18",
            "'losskit-perceptual[timm]'",
        ),
    ],
)
def test_so_do_the_other_extras(folder: Path, blocked: str, command: str, extra: str) -> None:
    done = run(folder, blocked, command)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert f"pip install {extra}" in line


@pytest.mark.parametrize(
    "command",
    [
        "list",
        "show L1Loss",
        "plugins",
        "presets",
        "presets stylegan2",
        "migrate mmagic.py",
        "train --print-config",
        "weights list",
        "weights verify",
        "weights path",
        "doctor",
        "new wavelet",
        "check core/L1Loss --only spec",
        "--help",
    ],
)
def test_the_other_commands_work_with_torch_alone(folder: Path, command: str) -> None:
    blocked = "numpy,PIL,rich,torchvision,torchmetrics,timm,open_clip,facenet_pytorch,skimage"
    done = run(folder, blocked, command)
    assert done.returncode == 0, done.stderr
    assert "NumPy" not in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "command",
    [
        "eval a b",
        "atlas --loss L1Loss --size 16 --out out --image a/0.png",
        "optimize o.yaml --target a/0.png --steps 3 --animation none",
    ],
)
def test_without_rich_progress_is_lines(folder: Path, command: str) -> None:
    done = run(folder, "rich", command)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert any(word in done.stderr for word in ("comparing 0/9", "measuring L1Loss", "/3  "))


def test_a_declared_package_is_installed_by_its_name(folder: Path) -> None:
    done = run(folder, "open_clip", "eval a b --loss CLIPImageLoss:weights=random")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].endswith("pip install open-clip-torch")


def test_extras_are_read_from_metadata() -> None:
    extras = {(r.package, r.extra) for r in requirements_of("losskit")}
    assert {("numpy", "images"), ("pillow", "images"), ("rich", "images"), ("torch", "")} <= extras
    assert install_of("PIL.Image") == "pip install 'losskit[images]'"
    assert install_of("numpy", "rich", distribution="losskit-train") == "pip install losskit-train"
    demo = install_of("rich", "skimage", distribution="losskit-train")
    assert demo == "pip install 'losskit-train[demo]'"
    assert install_of("no_such_module") is None
    require("nothing", "no_such_module|json")
