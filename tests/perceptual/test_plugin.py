"""Every loss of this plugin passes the conformance kit."""

import subprocess
import sys

import pytest

from losskit.testing import Check, parametrize_with_checks

# Their weights are looked at without gradient by definition, so that the gradient is not the slope.
_REWEIGHTED = ("FocalFrequencyLoss:gradcheck", "LDLLoss:gradcheck")


@parametrize_with_checks("perceptual")
# torch.compile looks at the .grad of the images it is given, whether leaves or not.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")
def test_conformance(check: Check) -> None:
    if str(check).endswith(_REWEIGHTED):
        pytest.skip("weights take no gradient")
    check()


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
