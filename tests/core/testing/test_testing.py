"""The conformance kit: every check catches what it is meant for, and passes what is right."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

import losskit
import losskit.losses.reduction
from losskit.cli import main
from losskit.errors import PluginWarning
from losskit.losses.checks import check_pair
from losskit.scaffold import Names, write_plugin
from losskit.testing import (
    Check,
    CheckFailed,
    NotApplicable,
    PluginSandbox,
    all_checks,
    check_loss,
    check_plugin,
    losskit_plugins,  # noqa: F401 - a fixture
    parametrize_with_checks,
    run_checks,
)
from losskit.testing.documents import documentation

# Check → what to change in a plugin written by `losskit new`: (file, old text, new text).
VARIANTS: dict[str, tuple[str, str, str]] = {
    "loads": ("plugin.py", "api = 1", "raise RuntimeError('no licence key')"),
    "api": ("plugin.py", "api = 1", "version = 1"),
    "imports-without-torch": (
        "plugin.py",
        "from losskit import",
        "import torch\nfrom losskit import",
    ),
    "imports-quietly": ("plugin.py", "api = 1", "api = 1\nprint('hello')"),
    "other-hooks": (
        "plugin.py",
        "api = 1",
        "api = 1\nfrom losskit import CommandSpec\n"
        "@hookimpl\ndef losskit_commands():\n"
        "    return [CommandSpec('demo', 'losskit.cli:no_such_function', 'A command.')]",
    ),
    "spec": ("plugin.py", 'Loss, 2022, "\n            "arXiv:2208.04564', "Loss"),
    "target": ("plugin.py", ".losses:", ".losses:Not"),
    "example": ("examples.py", 'grad=("pred",)', 'grad=("prediction",)'),
    "inputs": ("examples.py", '"target": torch.rand(shape)}', '"gt": torch.rand(shape)}'),
    "typos": ("losses.py", '"mean") -> None:', '"mean", **_: object) -> None:'),
    "options-by-name": ("losses.py", "def __init__(self, *, ", "def __init__(self, "),
    "config": (
        "losses.py",
        'sharpness: float = 1.0, reduction: Reduction = "mean") -> None:\n'
        "        super().__init__()\n        check_reduction(reduction)\n"
        "        _check_sharpness(sharpness)\n        self.sharpness = sharpness",
        'sharpness: object = 1.0, reduction: Reduction = "mean") -> None:\n'
        "        super().__init__()\n"
        "        self.sharpness = 1.0 if isinstance(sharpness, tuple) else 3.0",
    ),
    "docstring": ("losses.py", "    Returns:\n", "    It gives:\n"),
    "scalar": (
        "losses.py",
        'reduction: Reduction = "mean") ->',
        'reduction: Reduction = "none") ->',
    ),
    "reduction": (
        "losses.py",
        "return reduce(loss, reduction)",
        'return reduce(loss, reduction) * (2 if reduction == "sum" else 1)',
    ),
    "finite": ("losses.py", "return reduce(loss,", "return reduce(difference.abs().sqrt(),"),
    "determinism": (
        "losses.py",
        "return reduce(loss,",
        "import random\n    return reduce(loss * random.random(),",
    ),
    "side-effects": (
        "losses.py",
        "return reduce(loss,",
        "pred.data.clamp_(0.2, 0.8)\n    return reduce(loss,",
    ),
    "gradients": ("losses.py", "target.detach()", "target"),
    "gradcheck": (
        "losses.py",
        "return reduce(loss,",
        "return reduce(difference * difference.detach(),",
    ),
    "float64": ("losses.py", "pred - target.detach()", "(pred - target.detach()).float()"),
    "autocast": (
        "losses.py",
        "return reduce(loss,",
        "eye = torch.eye(pred.shape[-1], dtype=pred.dtype)\n"
        "    return reduce(((difference + 1000) @ eye - 1000) ** 2 + loss,",
    ),
    "device": ("losses.py", "return reduce(loss,", "return reduce(loss * torch.ones(1, 3, 1, 1),"),
    "copies": (
        "losses.py",
        "super().__init__()",
        "super().__init__()\n        self.f = lambda x: x",
    ),
    "state": (
        "losses.py",
        "super().__init__()",
        "super().__init__()\n        type(self).get_extra_state = lambda self: {}",
    ),
    "inference-mode": (
        "losses.py",
        "self.sharpness = sharpness",
        "self.sharpness = torch.tensor(sharpness)",
    ),
    "sizes": (
        "losses.py",
        "return reduce(loss,",
        "return reduce(loss / (1 + pred.detach().std(0)),",
    ),
    "memory-format": (
        "losses.py",
        "return reduce(loss,",
        "return reduce(loss + 0 * pred.view(-1)[0],",
    ),
    "compile": (
        "losses.py",
        "return reduce(loss,",
        "return reduce(loss * 2 if torch.compiler.is_compiling() else loss,",
    ),
    "rejects": ("losses.py", "    check_pair(pred, target)\n", ""),
}
EXTRA = {"config": ("examples.py", "inputs={", 'arguments={"sharpness": (1.0,)}, inputs={')}


def write_variant(folder: Path, slug: str, *changes: tuple[str, str, str]) -> Names:
    """A scaffolded plugin with changes made to its sources."""
    names = Names.parse(slug)
    source = write_plugin(slug, folder) / "src" / names.package
    for file, old, new in changes:
        text = (source / file).read_text()
        assert old in text, f"the template of {file} has no {old!r} any more"
        (source / file).write_text(text.replace(old, new))
    return names


@pytest.fixture
def variant(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    losskit_plugins: PluginSandbox,  # noqa: F811
) -> Callable[..., Names]:
    def make(slug: str, *changes: tuple[str, str, str]) -> Names:
        names = write_variant(tmp_path, slug, *changes)
        monkeypatch.syspath_prepend(tmp_path / f"losskit-{slug}" / "src")
        losskit_plugins.install(names.namespace, f"{names.package}.plugin")
        return names

    return make


def test_a_fresh_plugin_passes_every_check(variant) -> None:
    names = variant("fresh-loss")
    results = check_plugin(names.namespace)
    assert {result.status for result in results} == {"passed"}
    assert {result.check for result in results} == {check.id for check in all_checks()}


@pytest.mark.parametrize("check_id", VARIANTS)
def test_each_check_catches_what_it_is_meant_for(check_id: str, variant) -> None:
    changes = [VARIANTS[check_id], *([EXTRA[check_id]] if check_id in EXTRA else [])]
    names = variant(f"broken-{check_id}", *changes)
    if check_id == "loads":
        with pytest.warns(PluginWarning, match="no licence key"):
            losskit.plugins()
    results = list(run_checks(names.namespace, only=[check_id]))
    (failed,) = [result for result in results if result.status == "failed"]
    assert "\n" not in failed.message
    assert "To mend it: " in failed.message
    assert failed.why


def test_every_check_has_a_variant_that_it_catches() -> None:
    assert set(VARIANTS) == {check.id for check in all_checks()}


@pytest.mark.parametrize("check", all_checks(), ids=str)
def test_every_check_says_why(check: Check) -> None:
    assert re.fullmatch(r"[a-z0-9-]+", check.id)
    assert len(check.why) > 40
    assert "\n" not in check.why


def test_only_the_gradient_to_the_target_is_found_in_a_loss_that_is_otherwise_right(
    variant,
) -> None:
    names = variant("leaky-loss", VARIANTS["gradients"])
    with pytest.raises(CheckFailed) as failure:
        check_loss(f"{names.namespace}/LeakyLoss")
    (line,) = str(failure.value).splitlines()
    assert line.startswith("leaky_loss/LeakyLoss:gradients: a gradient flows into 'target'")


def test_expected_failures_are_strict(variant) -> None:
    names = variant("known-loss", VARIANTS["float64"])
    name = f"{names.namespace}/KnownLoss"
    results = check_loss(name, only=["float64"], expected_failures={"float64": "a known limit"})
    assert [(r.status, r.message) for r in results] == [("expected-failure", "a known limit")]
    with pytest.raises(CheckFailed, match="KnownLoss:scalar is expected to fail and does not"):
        check_loss(name, only=["scalar"], expected_failures={"scalar": "was broken once"})
    with pytest.raises(CheckFailed, match="has no reason"):
        check_loss(name, only=["float64"], expected_failures={"float64": " "})
    with pytest.raises(CheckFailed, match=r"was not run; did you mean '.*:float64'"):
        check_loss(name, only=["float64"], expected_failures={"floa64": "typo"})


def test_a_loss_registered_in_the_process_can_be_checked(losskit_plugins: PluginSandbox) -> None:  # noqa: F811
    @losskit.register(summary="The absolute difference.", tags=("image",), paper="Gauss, 1809")
    def plain_l1(pred: Tensor, target: Tensor, *, scale: float = 1.0) -> Tensor:
        """The absolute difference.

        Args:
            pred: an image.
            target: another.
            scale: of the result.

        Returns:
            A scalar.

        Raises:
            ValueError: shapes differ.
        """
        check_pair(pred, target)
        return scale * (pred - target.detach()).abs().mean()

    def pair(batch: int = 2, height: int = 8, width: int = 8) -> losskit.Example:
        pred, target = torch.rand(2, batch, 3, height, width).unbind()
        return losskit.Example(inputs={"pred": pred, "target": target}, frozen=("target",))

    # A function inside a test has no name that pickle could find.
    results = check_loss("plain_l1", example=pair, expected_failures={"copies": "a local function"})
    failed = {r.check for r in results if r.status != "passed"}
    assert failed == {"copies", "options-by-name", "reduction"}


def test_unknown_names_are_answered_with_the_nearest() -> None:
    with pytest.raises(losskit.LosskitError, match="there is no check 'gradchek'; did you mean"):
        list(run_checks("core", only=["gradchek"]))
    with pytest.raises(
        losskit.LosskitError, match=r"no loss is called 'coreX'.*nor is there a plugin"
    ):
        list(run_checks("coreX"))
    with pytest.raises(
        losskit.LosskitError, match="no plugin is called 'coer'; did you mean 'core'"
    ):
        check_plugin("coer")


def test_parametrize_gives_one_test_per_check() -> None:
    mark = parametrize_with_checks(
        "L1Loss", only=["scalar", "gradcheck"], expected_failures={"core/L1Loss:scalar": "why not"}
    ).mark
    assert mark.args[0] == "check"
    scalar, gradcheck = mark.args[1]
    assert (scalar.id, gradcheck.id) == ("core/L1Loss:scalar", "core/L1Loss:gradcheck")
    assert scalar.marks[0].kwargs["strict"] is True
    assert scalar.marks[0].kwargs["reason"] == "why not"
    assert not gradcheck.marks
    gradcheck.values[0]()


@pytest.mark.parametrize(
    ("failures", "message"),
    [
        ({"core/L1Loss:scalr": "why"}, "no check of L1Loss; did you mean 'core/L1Loss:scalar'"),
        ({"core/L1Loss:scalar": ""}, "needs a reason, not ''"),
    ],
)
def test_parametrize_refuses_idle_expectations(failures: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        parametrize_with_checks("L1Loss", expected_failures=failures)


def test_parametrize_on_a_plugin_that_is_not_installed_is_one_failing_test() -> None:
    (only,) = parametrize_with_checks("no_such_plugin").mark.args[1]
    assert only.id == "no_such_plugin:loads"
    with pytest.raises(CheckFailed, match="install the package"):
        only.values[0]()


def test_a_check_that_does_not_apply_is_a_skip() -> None:
    (only,) = parametrize_with_checks("MaxGradientPenalty", only=["reduction"]).mark.args[1]
    with pytest.raises(NotApplicable):
        only.values[0].check()
    with pytest.raises(pytest.skip.Exception, match="takes no reduction"):
        only.values[0]()


def test_the_sandbox_shuts_out_what_is_installed(losskit_plugins: PluginSandbox) -> None:  # noqa: F811
    assert [record.name for record in losskit.plugins()] == ["core"]
    spec = losskit.LossSpec("MineLoss", "losskit.losses.pixel:L1Loss", "Mine.")
    losskit_plugins.install("mine", losses=[spec])
    assert [record.name for record in losskit.plugins()] == ["core", "mine"]
    assert losskit.get_spec("MineLoss").qualified_name == "mine/MineLoss"


def test_the_sandbox_is_gone_afterwards(recwarn: pytest.WarningsRecorder) -> None:
    names = [record.name for record in losskit.plugins()]
    assert "mine" not in names
    assert "gan" in names


def test_what_an_example_expects_to_fail_is_told_with_its_reason(
    variant, capsys: pytest.CaptureFixture[str]
) -> None:
    expects = ("examples.py", "inputs={", 'expected_failures={"gradcheck": "detached"}, inputs={')
    names = variant("detached-loss", VARIANTS["gradcheck"], expects)
    (result,) = run_checks(f"{names.namespace}/DetachedLoss", only=["gradcheck"])
    assert (result.status, result.message) == ("expected-failure", "detached")
    (parameter,) = parametrize_with_checks(
        f"{names.namespace}/DetachedLoss", only=["gradcheck"]
    ).mark.args[1]
    with pytest.raises(pytest.xfail.Exception, match="detached"):
        parameter.values[0]()
    assert main(["check", f"{names.namespace}/DetachedLoss", "--only", "gradcheck,scalar"]) == 0
    out = capsys.readouterr().out
    assert "1 of 1 checks passed, 1 failed as expected" in out
    assert "    x gradcheck: detached\n" in out


def test_an_example_that_expects_what_passes_fails(variant) -> None:
    expects = ("examples.py", "inputs={", 'expected_failures={"scalar": "was so once"}, inputs={')
    names = variant("outdated-loss", expects)
    (result,) = run_checks(f"{names.namespace}/OutdatedLoss", only=["scalar"])
    assert result.status == "failed"
    assert "passes, though Example.expected_failures names it" in result.message


@pytest.mark.parametrize("expected", ['{"gradchek": "a typo"}', '{"gradcheck": " "}'])
def test_an_example_that_expects_nonsense_fails(expected: str, variant) -> None:
    expects = ("examples.py", "inputs={", f"expected_failures={expected}, inputs={{")
    names = variant(f"nonsense{len(expected)}-loss", expects)
    (result,) = run_checks(f"{names.namespace}/{names.loss_class}", only=["example"])
    assert result.status == "failed"
    assert "name a check (loads, " in result.message


def a_distance(pred: object) -> object:
    """What the class below leaves to its function.

    Returns:
        pred.
    """
    return pred


@pytest.mark.parametrize(
    "reference",
    ["`a_distance`", ":func:`a_distance`", ":py:func:`losskit.losses.pixel.l1_loss`"],
)
def test_references_in_docstrings_are_followed(reference: str) -> None:
    class Module:
        __doc__ = f"Not ``a_distance``, but {reference}."

    assert "Returns:" in documentation(SimpleNamespace(target=Module))


@pytest.mark.parametrize("text", ["``a_distance``", "`no_such.name`", "`nothing`", "a `b`"])
def test_code_in_docstrings_is_no_reference(text: str) -> None:
    class Module:
        __doc__ = text

    assert documentation(SimpleNamespace(target=Module)) == text


def test_a_reference_by_role_must_lead_somewhere() -> None:
    class Module:
        __doc__ = "See :func:`losskit.losses.pixel.nothing`."

    with pytest.raises(CheckFailed, match=r"following :func:`losskit.losses.pixel.nothing`"):
        documentation(SimpleNamespace(target=Module))
