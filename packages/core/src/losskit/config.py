"""Read objectives and other configs from YAML, JSON or TOML."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from losskit.errors import ConfigError, nearest
from losskit.spec import one_line

if TYPE_CHECKING:
    from losskit.objective import Objective

_SUFFIXES = (".yaml", ".yml", ".json", ".toml")
OBJECTIVE_KEYS = ("terms", "on_nonfinite")


def read_config(path: str | Path) -> dict[str, Any]:
    """The mapping a file holds.

    Args:
        path: ``.yaml``, ``.yml`` (read safely: no Python objects), ``.json`` or ``.toml``.

    Raises:
        ConfigError: the file cannot be read or parsed, or is not a mapping.
    """
    path = Path(path)
    if path.suffix not in _SUFFIXES:
        raise ConfigError(f"{path}: a config ends in {', '.join(_SUFFIXES)}, not {path.suffix!r}")
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text: {error.reason}") from error
    try:
        data = _parse(text, path.suffix)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: {one_line(error)}") from error
    if not isinstance(data, Mapping):
        raise ConfigError(f"{path} must hold a mapping, not {type(data).__name__}")
    return dict(data)


def _parse(text: str, suffix: str) -> Any:
    if suffix == ".json":
        return json.loads(text)
    if suffix == ".toml":
        return tomllib.loads(text)
    import yaml  # 35 ms that `losskit list` need not pay

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(one_line(error)) from error


def load_objective(source: str | Path | Mapping[str, Any]) -> Objective:
    """Make an objective from a file or mapping with the key ``terms``.

    Args:
        source: a path, or ``{"terms": [{"type": "L1Loss"}, ...], "on_nonfinite": "raise"}``.

    Raises:
        ConfigError: anything is wrong with it; the message says where (``terms[2]``).
    """
    from losskit.objective import Objective
    from losskit.registry import build

    where = "" if isinstance(source, Mapping) else f"{source}: "
    config = source if isinstance(source, Mapping) else read_config(source)
    for key in config:
        if key not in OBJECTIVE_KEYS:
            raise ConfigError(
                f"{where}unknown key {key!r}{nearest(str(key), OBJECTIVE_KEYS)}; "
                f"an objective has {', '.join(OBJECTIVE_KEYS)}"
            )
    terms = config.get("terms")
    if not isinstance(terms, list | tuple) or not terms:
        raise ConfigError(f"{where}'terms' must be a list of at least one term, not {terms!r:.80}")
    built = []
    for index, term in enumerate(terms):
        try:
            built.append(build(term))
        except (ConfigError, KeyError) as error:
            raise ConfigError(f"{where}terms[{index}]: {one_line(error)}") from error
    return Objective(built, on_nonfinite=config.get("on_nonfinite", "raise"))
