"""Read objectives and other configs from YAML, JSON or TOML."""

from __future__ import annotations

import functools
import json
import math
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from losskit.errors import ConfigError, nearest
from losskit.text import one_line

if TYPE_CHECKING:
    import yaml

    from losskit.objectives.objective import Objective

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
        return yaml.load(text, Loader=_yaml_loader())  # a SafeLoader
    except yaml.YAMLError as error:
        raise ValueError(one_line(error)) from error


@functools.cache
def _yaml_loader() -> type[yaml.SafeLoader]:
    """PyYAML's safe loader with two traps taken out.

    ``1e-3`` is a number, as in YAML 1.2 and JSON (PyYAML wants ``1.0e-3`` and reads a string), and a
    key given twice is an error instead of the first one's silent loss.
    """
    import yaml

    class Loader(yaml.SafeLoader):
        pass

    def mapping(loader: Loader, node: yaml.MappingNode) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key, _ in node.value:
            if not isinstance(key.value, str):  # "? [a, b]": a key that is no scalar
                raise ValueError(f"a key must be a word, on line {key.start_mark.line + 1}")
            if key.value in seen:
                raise ValueError(f"key {key.value!r} twice, on line {key.start_mark.line + 1}")
            seen.add(key.value)
        loader.flatten_mapping(node)
        return loader.construct_mapping(node, deep=True)

    Loader.add_constructor("tag:yaml.org,2002:map", mapping)
    Loader.add_implicit_resolver(
        "tag:yaml.org,2002:float",
        re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)[eE][-+]?\d+\Z"),
        list("-+.0123456789"),
    )
    return Loader


def config_yaml(data: Any, *, one_line: bool = False) -> str:
    """Values as YAML that ``read_config`` reads as the same values.

    PyYAML's own dump writes the text ``1e-3`` without quotes, which would be read as a number.

    Args:
        data: mappings, lists, text, numbers, booleans and ``None``.
        one_line: all on one line; else only the innermost lists and mappings are.
    """
    import yaml

    class Dumper(yaml.SafeDumper):
        yaml_implicit_resolvers = _yaml_loader().yaml_implicit_resolvers

    values = data.values() if isinstance(data, Mapping) else ()
    nested = any(isinstance(value, (Mapping, list, tuple)) for value in values)
    text = yaml.dump(
        data,
        Dumper=Dumper,
        sort_keys=False,
        default_flow_style=one_line or (None if nested else False),
        width=math.inf if one_line else 96,
    )
    return str(text).removesuffix("...\n")


def load_objective(
    source: str | Path | Mapping[str, Any], *, allow_import: bool = False
) -> Objective:
    """Make an objective from a file or mapping with the key ``terms``.

    Args:
        source: a path, or ``{"terms": [{"type": "L1Loss"}, ...], "on_nonfinite": "raise"}``.
        allow_import: let losses import code that the config names; see ``losskit.build``.

    Raises:
        ConfigError: anything is wrong with it; the message says where (``terms[2]``).
    """
    from losskit.objectives.build import build
    from losskit.objectives.objective import Objective

    if not isinstance(source, (str, Path, Mapping)):
        raise ConfigError(
            f"an objective comes from a path or a mapping with 'terms', not {source!r:.80}"
        )
    where = "" if isinstance(source, Mapping) else f"{source}: "
    config = source if isinstance(source, Mapping) else read_config(source)
    for key in config:
        if key not in OBJECTIVE_KEYS:
            raise ConfigError(
                f"{where}unknown key {key!r}{nearest(str(key), OBJECTIVE_KEYS)}; "
                f"an objective has {', '.join(OBJECTIVE_KEYS)}"
            )
    terms = config.get("terms")
    if not isinstance(terms, (list, tuple)) or not terms:
        raise ConfigError(f"{where}'terms' must be a list of at least one term, not {terms!r:.80}")
    built = []
    for index, term in enumerate(terms):
        try:
            built.append(build(term, allow_import=allow_import))
        except (ConfigError, KeyError) as error:
            raise ConfigError(f"{where}terms[{index}]: {one_line(error)}") from error
    try:
        return Objective(built, on_nonfinite=config.get("on_nonfinite", "raise"))
    except ConfigError as error:
        raise ConfigError(f"{where}{error}") from error
