"""``losskit presets [NAME [key=value ...]]``: published combinations of losses, as configs."""

from __future__ import annotations

import argparse
import json
from typing import Any

from losskit.cli.listing import add_json, print_json, print_table
from losskit.discovery.presets import NO_PRESETS, preset_config
from losskit.discovery.registry import list_presets
from losskit.errors import ConfigError


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``losskit presets``."""
    parser.add_argument("name", nargs="?", help="print the config this preset stands for")
    parser.add_argument("options", nargs="*", metavar="key=value", help="its loss_config keys")
    add_json(parser)
    parser.set_defaults(run=_presets)


def _presets(arguments: argparse.Namespace) -> int:
    if arguments.name is None:
        presets = list_presets()
        if arguments.json:
            print_json(
                presets=[
                    {"name": p.name, "plugin": p.namespace, "summary": p.summary, "paper": p.paper}
                    for p in presets
                ]
            )
        elif not presets:
            print(NO_PRESETS)
        else:
            print_table(
                ("PRESET", "PLUGIN", "SUMMARY", "PAPER"),
                [(p.name, p.namespace, p.summary, p.paper) for p in presets],
            )
        return 0
    spec, config = preset_config(arguments.name, dict(map(_option, arguments.options)))
    if arguments.json:
        print_json(preset=spec.name, paper=spec.paper, config=config)
        return 0
    import yaml

    print(f"# {spec.name}: {spec.summary}\n# {spec.paper}")
    print(yaml.safe_dump(config, sort_keys=False), end="")
    return 0


def _option(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals:
        raise ConfigError(f"write options as key=value, not {text!r}")
    try:
        return key, json.loads(value)
    except json.JSONDecodeError:
        return key, value
