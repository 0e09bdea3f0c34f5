"""Both players' objectives from the configs of the MMagic guide: GAN loss plus auxiliary terms."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

from torch import Tensor, nn

from losskit.errors import ConfigError
from losskit.losses.base import Loss, default_loss_name, input_parameters
from losskit.objectives.build import build
from losskit.objectives.objective import Objective, ObjectiveOutput
from losskit.objectives.term import Term
from losskit.text import one_line

TermConfig: TypeAlias = Term | Mapping[str, Any] | Callable[..., Tensor]
TermConfigs: TypeAlias = TermConfig | Iterable[TermConfig]


class GANObjective(nn.Module):
    """The losses of a generator and of its discriminator, each a sum of terms.

    Every argument takes one config, one `Term`, one loss (a module or a function), a
    list of them, or nothing.

    What ``gan_loss`` may be is read off the loss's call:

    * ``loss(input, target_is_real, is_disc)`` (``GANLoss``, and any class of that form): gives
      ``loss_disc_fake`` and ``loss_disc_real``, and ``loss_gen`` for the generator.
    * a loss with methods ``discriminator(real_logits, fake_logits)`` and
      ``generator(real_logits, fake_logits)`` (relativistic losses): gives ``loss_disc`` and
      ``loss_gen``.
    * ``loss(net, fake, real, model)`` (``AdvLoss``): the same two. It reads ``disc``, ``fake_imgs``,
      ``real_imgs`` and, where it takes logits, ``disc_pred_fake`` and ``disc_pred_real``.

    Its ``loss_weight`` counts for the generator only, as in MMagic; with a ``loss_name`` of its own
    the logs are ``<loss_name>_disc_fake`` and so on, so that several GAN losses stay apart. Values
    of one name add up. ``data_info`` may route further inputs, such as a ``mask``.

    Args:
        gan_loss: the adversarial loss(es); ``None``: auxiliary terms only.
        disc_auxiliary_loss: further terms of the discriminator (R1, a shift penalty).
        gen_auxiliary_loss: further terms of the generator (L1, perceptual, path length).
        on_nonfinite: what a NaN or infinite term does; see `Objective`.
        allow_import: let losses import code that their configs name; see `build`.

    Raises:
        ConfigError: a config is wrong (the message says which), or there is no term at all.

    Example:
        >>> import torch
        >>> objective = GANObjective(
        ...     gan_loss=dict(type="GANLoss", gan_type="hinge", loss_weight=0.1),
        ...     disc_auxiliary_loss=dict(
        ...         type="DiscShiftLoss", loss_weight=0.0005, data_info=dict(pred="disc_pred_real")
        ...     ),
        ... )
        >>> outputs = dict(disc_pred_fake=torch.zeros(2, 1), disc_pred_real=torch.zeros(2, 1))
        >>> objective.discriminator(outputs).total
        tensor(2.)
    """

    def __init__(
        self,
        gan_loss: TermConfigs | None,
        disc_auxiliary_loss: TermConfigs | None = None,
        gen_auxiliary_loss: TermConfigs | None = None,
        *,
        on_nonfinite: str = "raise",
        allow_import: bool = False,
    ) -> None:
        super().__init__()
        disc_terms: list[Term] = []
        gen_terms: list[Term] = []
        for where, config in _listed(gan_loss, "gan_loss"):
            disc, gen = _players(_built(config, where, allow_import), where)
            disc_terms += disc
            gen_terms += gen
        for terms, configs, name in (
            (disc_terms, disc_auxiliary_loss, "disc_auxiliary_loss"),
            (gen_terms, gen_auxiliary_loss, "gen_auxiliary_loss"),
        ):
            terms += [_built(c, where, allow_import) for where, c in _listed(configs, name)]
        if not disc_terms and not gen_terms:
            raise ConfigError("a GAN objective needs at least one term; all three lists are empty")
        self.disc_objective = _objective(disc_terms, on_nonfinite, "the discriminator")
        self.gen_objective = _objective(gen_terms, on_nonfinite, "the generator")

    def discriminator(
        self, outputs: Mapping[str, Any] | None = None, **more: Any
    ) -> ObjectiveOutput:
        """The discriminator's total and logs; see `Objective.forward`.

        Raises:
            ConfigError: the discriminator has no term.
        """
        if self.disc_objective is None:
            raise ConfigError("this objective has no term for the discriminator: give a gan_loss")
        result: ObjectiveOutput = self.disc_objective(outputs, **more)
        return result

    def generator(self, outputs: Mapping[str, Any] | None = None, **more: Any) -> ObjectiveOutput:
        """The generator's total and logs.

        Raises:
            ConfigError: the generator has no term.
        """
        if self.gen_objective is None:
            raise ConfigError("this objective has no term for the generator: give a gan_loss")
        result: ObjectiveOutput = self.gen_objective(outputs, **more)
        return result

    def forward(self, outputs: Mapping[str, Any], *, player: str) -> ObjectiveOutput:
        """The objective of ``player``, ``"discriminator"`` or ``"generator"``."""
        if player not in ("discriminator", "generator"):
            raise ValueError(f"player must be 'discriminator' or 'generator', not {player!r}")
        return self.discriminator(outputs) if player == "discriminator" else self.generator(outputs)

    def needs(self, player: str, key: str, iteration: int = 0) -> bool:
        """Return whether a term of ``player`` reads ``outputs[key]``: unread outputs need not be made.

        A loss that routes for itself is asked for its ``data_info``.
        """
        return any(key in _keys_read(term) for term in self._active(player, iteration))

    def differentiates(self, player: str, iteration: int = 0) -> bool:
        """Return whether a term of ``player`` differentiates the given pass: compiled passes refuse that.

        Path lengths of given latents do, and adaptive weights. Gradient penalties do not: they make a
        pass of their own.
        """
        return self.differentiates_twice(player, iteration) or any(
            not isinstance(term.loss_weight, (int, float))
            for term in self._active(player, iteration)
        )

    def differentiates_twice(self, player: str, iteration: int = 0) -> bool:
        """Return whether a term of ``player`` uses the pass's gradients: path lengths of given latents."""
        return any(
            "latents" in {*_routes(term), *_keys_read(term)}
            for term in self._active(player, iteration)
        )

    def is_active(self, player: str, iteration: int = 0) -> bool:
        """Return whether any term of ``player`` counts now: before they all ``start``, it needs no update."""
        return bool(self._active(player, iteration))

    def _active(self, player: str, iteration: int) -> list[Term]:
        objective = self.disc_objective if player == "discriminator" else self.gen_objective
        terms = [] if objective is None else objective.term_list()
        return [
            term
            for term in terms
            if term.schedule.is_constant or term.schedule.factor(iteration) != 0.0
        ]


def _objective(terms: list[Term], on_nonfinite: str, player: str) -> Objective | None:
    if not terms:
        return None
    try:
        return Objective(terms, on_nonfinite=on_nonfinite)
    except ConfigError as error:
        raise ConfigError(f"{player}: {one_line(error)}") from error


def _listed(configs: TermConfigs | None, name: str) -> list[tuple[str, TermConfig]]:
    if configs is None:
        return []
    if isinstance(configs, Mapping) or callable(configs):
        return [(name, configs)]
    if isinstance(configs, str) or not isinstance(configs, Iterable):
        raise ConfigError(f"{name} must be a term's config or a list of them, not {configs!r:.80}")
    return [(f"{name}[{index}]", config) for index, config in enumerate(configs)]


def _built(config: TermConfig, where: str, allow_import: bool) -> Term:
    try:
        return build(config, allow_import=allow_import)
    except (ConfigError, KeyError) as error:
        raise ConfigError(f"{where}: {one_line(error)}") from error


def _players(term: Term, where: str) -> tuple[list[Term], list[Term]]:
    """The terms one GAN loss gives each player; all share the loss and hence its state."""
    loss = term.loss
    extra = dict(term.data_info or {})
    named = term.name if term.name != default_loss_name(loss) else "loss"
    if callable(getattr(loss, "discriminator", None)) and callable(
        getattr(loss, "generator", None)
    ):
        logits = {"real_logits": "disc_pred_real", "fake_logits": "disc_pred_fake"}
        return (
            [_role(term, _Player(loss, "discriminator"), f"{named}_disc", {**logits, **extra})],
            [_role(term, _Player(loss, "generator"), f"{named}_gen", {**logits, **extra})],
        )
    arguments = input_parameters(loss)
    if {"net", "fake", "real", "model"} <= set(arguments):
        images = {"net": "disc", "fake": "fake_imgs", "real": "real_imgs"}
        known: dict[str, str] = {}
        if {"fake_logits", "real_logits"} <= set(arguments) and not images.keys() & extra.keys():
            known = {"fake_logits": "disc_pred_fake", "real_logits": "disc_pred_real"}
        # The generator's loss seldom looks at the real ones: it makes that pass itself if it does.
        known_gen = {key: known[key] for key in known if key == "fake_logits"}
        return (
            [_over(term, loss, "discriminator", f"{named}_disc", {**images, **known, **extra})],
            [_over(term, loss, "generator", f"{named}_gen", {**images, **known_gen, **extra})],
        )
    if "target_is_real" not in arguments or "input" in extra or term.self_routed:
        raise ConfigError(
            f"{where}: {term.type_name} is no gan_loss (its call takes {', '.join(arguments)}); "
            "give it as disc_auxiliary_loss or gen_auxiliary_loss with data_info"
        )
    if getattr(loss, "gan_type", None) == "smgan":  # its labels are made from the mask
        extra = {"mask": "mask", **extra}
    sides = {
        f"{named}_disc_fake": ("disc_pred_fake", False, True),
        f"{named}_disc_real": ("disc_pred_real", True, True),
        f"{named}_gen": ("disc_pred_fake", True, False),
    }
    fake, real, generator = (
        _role(
            term,
            loss,
            name,
            {"input": pred, "target_is_real": is_real, "is_disc": is_disc, **extra},
        )
        for name, (pred, is_real, is_disc) in sides.items()
    )
    return [fake, real], [generator]


def _over(
    term: Term, loss: nn.Module, player: str, name: str, data_info: Mapping[str, Any]
) -> Term:
    return _role(term, _OverNetwork(loss, player), name, data_info)


def _role(term: Term, loss: nn.Module, name: str, data_info: Mapping[str, Any]) -> Term:
    return Term(
        loss,
        # The weight is the generator's: only its gradients meet those of other losses.
        loss_weight=term.loss_weight if name.endswith("_gen") else 1.0,
        data_info=data_info,
        loss_name=name,
        schedule=term.schedule,
        monitor=term.monitor or None,
        type_name=term.type_name,
    )


class _Player(Loss):
    """One player's side of a loss that has a method for each, as a module of its own."""

    def __init__(self, loss: nn.Module, player: str) -> None:
        super().__init__()
        self.loss = loss
        self.player = player

    def forward(self, real_logits: Any, fake_logits: Any) -> Tensor:
        value: Tensor = getattr(self.loss, self.player)(real_logits, fake_logits)
        return value


class _OverNetwork(Loss):
    """One player's side of a loss that is told by ``model`` whose it is."""

    def __init__(self, loss: nn.Module, player: str) -> None:
        super().__init__()
        self.loss = loss
        self.player = player

    def forward(
        self,
        net: nn.Module,
        fake: Tensor,
        real: Tensor,
        fake_logits: Any = None,
        real_logits: Any = None,
    ) -> Tensor:
        logits = {"fake_logits": fake_logits, "real_logits": real_logits}
        known = {name: value for name, value in logits.items() if value is not None}
        value: Tensor = self.loss(net, fake, real, model=self.player, **known)
        return value


def _keys_read(term: Term) -> set[Any]:
    keys, weight = set(_routes(term).values()), term.loss_weight
    return keys if isinstance(weight, (int, float)) else {*keys, weight.wrt}


def _routes(term: Term) -> dict[str, Any]:
    """The loss's arguments, and the output that each is given."""
    if term.self_routed:
        return dict(getattr(term.loss, "data_info", None) or {})
    return {argument: key for argument, key in term._routes if isinstance(key, str)}
