"""Ranges, and the warning about images far outside."""

import copy
import pickle

import pytest
import torch

import losskit
from losskit.errors import RangeWarning
from losskit.losses.data_range import RangeCheck, parse_data_range


@pytest.mark.parametrize(
    ("given", "pair"),
    [(1, (0, 1)), (1.0, (0, 1)), (255, (0, 255)), ((-1, 1), (-1, 1)), ([0, 4], (0, 4))],
)
def test_a_number_is_the_top_and_a_pair_is_itself(given: object, pair: tuple[float, float]) -> None:
    assert parse_data_range(given) == pair


@pytest.mark.parametrize("given", [0, -1, (1, 0), (0, float("inf")), float("nan")])
def test_a_range_must_be_one(given: object) -> None:
    with pytest.raises(ValueError, match="data_range must have low < high, not "):
        parse_data_range(given)


@pytest.mark.parametrize("given", ["1", None, (1, 2, 3), ("a", "b")])
def test_a_range_must_be_numbers(given: object) -> None:
    with pytest.raises(TypeError, match=r"data_range must be a number or a pair \(low, high\)"):
        parse_data_range(given)


@pytest.mark.parametrize(
    ("span", "low", "high", "warns"),
    [
        ((0, 1), 0, 1, False),
        ((0, 1), -0.4, 1.4, False),  # a network's overshoot
        ((0, 1), 0, 255, True),
        ((0, 1), -1, 1, True),
        ((0, 255), 0, 255, False),
        ((-1, 1), -1, 1, False),
        ((-1, 1), 0, 1, True),  # the classic mistake
        ((-1, 1), 0.3, 0.3, False),  # a flat image may be anything
        ((-1, 1), 0, 255, True),
        ((0, 1), float("nan"), float("nan"), False),  # not this check's business
    ],
)
def test_what_is_far_outside(
    span: tuple[float, float], low: float, high: float, warns: bool
) -> None:
    check = RangeCheck(span, "TheLoss", "range_argument")
    image = torch.linspace(low, high, 48).view(1, 3, 4, 4)
    if not warns:
        return check(pred=image)  # warnings are errors here
    with pytest.warns(RangeWarning, match="TheLoss: pred holds values from .*range_argument says"):
        check(pred=image)
    return None


def test_each_argument_is_told_of_once_and_a_good_image_first_hides_nothing() -> None:
    check = RangeCheck((0.0, 1.0), "TheLoss")
    good, bad = torch.rand(1, 3, 4, 4), torch.rand(1, 3, 4, 4) * 255
    check(pred=good, target=good)
    with pytest.warns(RangeWarning) as told:
        check(pred=bad, target=bad)
    check(pred=bad, target=bad)  # warnings are errors here
    assert [str(w.message).split()[1] for w in told] == ["pred", "target"]


def test_it_steps_aside_where_there_are_no_values() -> None:
    check = RangeCheck((0.0, 1.0), "TheLoss")
    check(pred=torch.empty(0, 3, 4, 4), target=torch.empty(1, 3, 4, 4, device="meta"))

    def value(image: torch.Tensor) -> torch.Tensor:
        check(pred=image)
        return image.sum()

    images = torch.rand(2, 3, 4, 4) * 255
    torch.testing.assert_close(torch.func.vmap(value)(images), images.sum((1, 2, 3)))
    compiled = torch.compile(value, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(images), images.sum())


def test_it_can_be_copied_and_pickled() -> None:
    check = RangeCheck((0.0, 1.0), "TheLoss")
    for twin in (copy.deepcopy(check), pickle.loads(pickle.dumps(check))):
        with pytest.warns(RangeWarning, match="TheLoss"):
            twin(pred=torch.full((1, 1, 2, 2), 99.0))


class Looking(losskit.Loss):
    def __init__(self) -> None:
        super().__init__()
        self.check = RangeCheck((0.0, 1.0), "Looking")

    def forward(self, pred):
        self.check(pred=pred)
        return pred.mean()


@pytest.mark.parametrize("how", ["alone", "in an objective", "in a model"])
def test_the_warning_points_to_the_callers_line(how: str) -> None:
    loss: torch.nn.Module = Looking()
    if how == "in an objective":
        loss = losskit.Objective([loss])
    if how == "in a model":
        loss = torch.nn.Sequential(loss)
    image = torch.full((1, 3, 4, 4), 200.0)
    with pytest.warns(RangeWarning) as caught:
        loss({"pred": image} if how == "in an objective" else image)
    assert caught[0].filename == __file__


def test_a_copy_does_not_warn_again() -> None:
    loss = Looking()
    with pytest.warns(RangeWarning):
        copy.deepcopy(loss)(torch.full((1, 3, 4, 4), 200.0))
    loss(torch.full((1, 3, 4, 4), 200.0))  # warnings are errors here


def test_what_is_trained_is_told_of_when_it_stays_outside() -> None:
    check = RangeCheck((0.0, 1.0), "TheLoss")
    outside = torch.full((1, 3, 4, 4), 3.0, requires_grad=True)
    inside = torch.rand(1, 3, 4, 4, requires_grad=True)
    for image in [outside] * 99 + [inside] + [outside] * 99:  # warnings are errors here
        check(pred=image * 1)
    with pytest.warns(RangeWarning, match="TheLoss: pred holds"):
        check(pred=outside * 1)
    check(pred=outside * 1)
    with pytest.warns(RangeWarning, match="TheLoss: target holds"):
        check(pred=outside, target=outside.detach())  # targets overshoot at no time


def test_the_warning_names_the_term() -> None:
    losses = [{"type": "SSIMLoss", "loss_name": f"loss_{part}"} for part in ("face", "rest")]
    pytest.importorskip("losskit_perceptual")
    objective = losskit.Objective(losses)
    images = torch.rand(1, 3, 16, 16) * 255
    with pytest.warns(RangeWarning) as caught:
        objective({"pred": images.clone().requires_grad_(), "target": images})
    told = [str(warning.message).partition(" holds")[0] for warning in caught]
    assert told == ["SSIMLoss (loss_face): target", "SSIMLoss (loss_rest): target"]


def test_a_look_at_the_terms_warns_at_the_callers_line(core_only) -> None:
    """Not in contextlib's source, through which our own ``with`` blocks go."""

    class Ranged(losskit.Loss):
        def __init__(self) -> None:
            super().__init__()
            self.range = RangeCheck((0.0, 1.0), "Ranged")

        def forward(self, pred: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
            self.range(target=target)
            return (pred - target).abs().mean()

    objective = losskit.Objective([Ranged()])
    pred = torch.rand(1, 3, 8, 8, requires_grad=True)
    with pytest.warns(RangeWarning) as caught:
        objective.gradient_norms(
            {"pred": pred * 1, "target": torch.rand(1, 3, 8, 8) * 255}, wrt=pred
        )
    assert caught[0].filename == __file__
