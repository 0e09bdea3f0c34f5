"""The plugin is light at discovery and exports what it says."""

import subprocess
import sys


def test_discovery_imports_neither_torch_nor_torchvision() -> None:
    code = "import losskit_perceptual.plugin as p, losskit_perceptual, sys; p.losskit_losses(); "
    code += (
        "print([m for m in ('torch', 'torchvision', 'torchmetrics', 'timm') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_all_that_is_exported_is_there() -> None:
    import losskit_perceptual

    for name in losskit_perceptual.__all__:
        assert getattr(losskit_perceptual, name).__name__ == name
