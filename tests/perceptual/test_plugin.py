"""The plugin is light at discovery and exports what it says."""

from processes import imported_by


def test_discovery_imports_neither_torch_nor_torchvision() -> None:
    code = "import losskit_perceptual.plugin as p, losskit_perceptual; p.losskit_losses()"
    assert imported_by(code, "torch", "torchvision", "torchmetrics", "timm") == []


def test_all_that_is_exported_is_there() -> None:
    import losskit_perceptual

    for name in losskit_perceptual.__all__:
        assert getattr(losskit_perceptual, name).__name__ == name
