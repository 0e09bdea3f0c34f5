"""The decorator that makes an elementwise function a loss."""

from __future__ import annotations

import inspect

import pytest
import torch

import losskit
from losskit.losses.base import FunctionLoss
from losskit.losses.reduction import reduce, weighted_reduce

pytestmark = pytest.mark.usefixtures("core_only")


@losskit.masked_loss
def disc_shift_loss(pred: torch.Tensor) -> torch.Tensor:
    """One tensor is enough."""
    return pred**2


@losskit.masked_loss
def scaled(pred, target, *, scale=1.0, **options):
    return scale * (pred - target)


def test_the_guides_example_of_one_tensor() -> None:
    pred = torch.tensor([1.0, 2.0, 3.0])
    assert disc_shift_loss(pred).item() == pytest.approx(14 / 3)
    assert disc_shift_loss(pred, weight=0.5).item() == pytest.approx(7 / 3)
    assert disc_shift_loss(pred, reduction="sum").item() == 14
    assert torch.equal(disc_shift_loss(pred, reduction="none"), torch.tensor([1.0, 4.0, 9.0]))


def test_both_names_are_one_decorator() -> None:
    assert losskit.masked_loss is losskit.weighted_loss


def test_name_docstring_and_signature_survive() -> None:
    assert disc_shift_loss.__name__ == "disc_shift_loss"
    assert disc_shift_loss.__doc__ == "One tensor is enough."
    assert list(inspect.signature(disc_shift_loss).parameters) == [
        "pred", "weight", "reduction", "sample_wise",
    ]  # fmt: skip
    assert list(inspect.signature(scaled).parameters) == [
        "pred", "target", "scale", "weight", "reduction", "sample_wise", "options",
    ]  # fmt: skip


def test_options_pass_through() -> None:
    assert scaled(torch.ones(2), torch.zeros(2), scale=3.0, weight=2.0).item() == 6


@pytest.mark.parametrize("sample_wise", [False, True])
def test_means_by_hand(sample_wise) -> None:
    loss = torch.tensor([[1.0, 3.0], [5.0, 7.0]])
    weight = torch.tensor([[1.0, 0.0], [1.0, 1.0]])
    # over the whole mask (1 + 5 + 7) / 3; by samples (1/1 + 12/2) / 2
    value = weighted_reduce(loss, weight, sample_wise=sample_wise)
    assert value.item() == pytest.approx(3.5 if sample_wise else 13 / 3)


def test_a_bound_function_can_be_a_term() -> None:
    losskit.register("shift")(disc_shift_loss)
    term = losskit.build({"type": "shift", "loss_weight": 0.5, "reduction": "sum"})
    assert isinstance(term.loss, FunctionLoss)
    assert term(torch.tensor([1.0, 2.0])).item() == 2.5
    assert term({"pred": torch.tensor([1.0, 2.0])}).item() == 2.5


@pytest.mark.parametrize("value", ["Mean", "avg", "", None])
def test_unknown_reduction(value) -> None:
    with pytest.raises(ValueError, match="reduction must be one of mean, sum, none, not"):
        disc_shift_loss(torch.ones(2), reduction=value)
    with pytest.raises(ValueError, match="reduction must be one of"):
        reduce(torch.ones(2), value)


def test_a_weight_of_another_shape() -> None:
    with pytest.raises(ValueError, match=r"weight of shape \(3,\) does not fit .*\(2,\): give the"):
        disc_shift_loss(torch.ones(2), weight=torch.ones(3))


def test_a_typo_in_an_option() -> None:
    with pytest.raises(TypeError, match="weigth"):
        disc_shift_loss(torch.ones(2), weigth=1.0)
