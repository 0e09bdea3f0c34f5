"""Other libraries' configs as objectives and training configs: read, never executed."""

from __future__ import annotations

import inspect
import json
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from losskit.discovery.registry import list_presets
from losskit.discovery.targets import resolve_target
from losskit.errors import ConfigError
from losskit.objectives.config import read_config
from losskit_lab.migrate import basicsr as migrate_basicsr
from losskit_lab.migrate.mmagic import draft_of
from losskit_lab.migrate.mmagic_models import DISC_TYPES, model_class
from losskit_lab.migrate.python_config import MISSING, PythonConfig, read_python_config
from losskit_lab.migrate.search import loss_configs, losses, model_type, unread
from losskit_lab.migrate.term import MigratedTerm, migrated_term, plain
from losskit_lab.migrate.training import training_config

__all__ = ["MigratedTerm", "Migration", "migrate"]


@dataclass(slots=True)
class Migration:
    """Result of migrating a config: an objective's terms or a training config, and remarks on the whole.

    Attributes:
        source: the file's name.
        terms: its losses.
        training: the training config, where the model has a discriminator to train.
        notes: what has no counterpart, or needs a look; one line each.
    """

    source: str
    terms: list[MigratedTerm] = field(default_factory=list)
    training: dict[str, Any] | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def missing(self) -> list[str]:
        """The notes on parts of the config whose losses could not be read."""
        return [note for note in self.notes if note.endswith(MISSING)]

    def to_yaml(self) -> str:
        """The training config or the objective as YAML; the notes are comments."""
        import yaml

        kind = "Losses" if self.training is None else "The training"
        lines = [f"# {kind} of {self.source}, found by losskit migrate."]
        lines += [f"# {' '.join(note.split())}" for note in self.notes]
        if self.training is not None:
            text = yaml.safe_dump(
                self.training,
                sort_keys=False,
                allow_unicode=True,
                default_flow_style=None,  # lists of numbers and terms on a line each
                width=100,
            )
            return "\n".join([*lines, text])
        lines.append("terms:" if self.terms else "terms: []")
        for term in self.terms:
            lines.append(f"# {' '.join(term.path.split())}")
            lines += [f"#   {' '.join(note.split())}" for note in term.notes]
            text = yaml.safe_dump([term.config], sort_keys=False, allow_unicode=True)
            lines += text.splitlines()
        return "\n".join(lines) + "\n"


def migrate(path: str | Path, *, training: bool = False) -> Migration:
    """Write the losses of a config of MMagic's, MMEditing's, BasicSR's or traiNNer-redux's in our names.

    A Python file is parsed and its constants, arithmetic, ``dict(...)`` and ``_base_`` files are
    resolved; nothing of it is run. A model with a discriminator becomes a config of
    ``losskit train``, any other an objective. A loss of an objective without ``data_info`` takes
    outputs by the names of its own arguments: MMagic's classes decide that, not its configs.

    Args:
        path: MMagic's ``.py`` file, or BasicSR's or traiNNer-redux's ``.yml``.
        training: make a training config of a generator without a discriminator too.

    Raises:
        LosskitError: the file cannot be read, or is no Python, no YAML or no training.
    """
    path = Path(path)
    if path.suffix in (".yml", ".yaml"):
        return _of_basicsr(path, training)
    config = read_python_config(path)
    result = Migration(path.name, notes=unread(config))
    result.terms += [migrated_term(where, found) for where, found in losses(config)]
    kind = model_class(model_type(config))
    preset = kind.preset if kind else None
    draft = draft_of(config, result.terms, preset and _preset_keys(preset), alone=training)
    if draft is not None:
        result.training = training_config(draft)
        result.notes += draft.notes
        if "preset" in draft.losses and _preset_keys(draft.losses["preset"]) is None:
            result.notes.append("the presets come with losskit-gan: pip install losskit-gan")
        return result
    result.notes += _preset_notes(config)
    if not (result.terms or result.notes) and (model := model_type(config)):
        result.notes.append(
            f"the config names no loss: what {model} is trained with, if it is, stands in its class"
        )
    if any("disc" in term.path or term.config["type"] in DISC_TYPES for term in result.terms):
        result.notes.append(
            "Terms of the discriminator belong into an objective of their own: it has its own step."
        )
    return result


def _of_basicsr(path: Path, training: bool) -> Migration:
    config = read_config(path)
    result = Migration(path.name)
    try:
        found = list(migrate_basicsr.found_losses(config))
    except ConfigError as error:
        raise ConfigError(f"{path} has {error}") from error
    for where, loss in found:
        term = migrate_basicsr.term_of(where, loss, result.notes)
        if term is not None:
            result.terms.append(term)
    draft = migrate_basicsr.draft_of(config, result.terms, alone=training)
    if draft is not None:
        result.training = training_config(draft)
        result.notes += draft.notes
    return result


def _preset_notes(config: PythonConfig) -> Iterator[str]:
    """That the losses of an unknown model stand in its class: a preset may have the same ones."""
    for where, options in loss_configs(config):
        words = [shlex.quote(f"{key}={_word(value)}") for key, value in options.items()]
        command = " ".join(["losskit presets", "NAME", *words])
        yield f"{where} holds the keys of a preset: see `losskit presets` for its name, then `{command}`"


def _preset_keys(name: str) -> Sequence[str] | None:
    """The ``loss_config`` keys of a preset; ``None`` where it is not installed."""
    for spec in list_presets():
        if spec.name == name:
            return list(inspect.signature(resolve_target(spec.target)).parameters)
    return None


def _word(value: Any) -> str:
    """An option's value as ``losskit presets`` reads it back."""
    return value if isinstance(value, str) else json.dumps(plain(value))
