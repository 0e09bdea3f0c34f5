"""``losskit list``, ``show`` and ``plugins``: what is installed, without importing torch."""

from __future__ import annotations

import argparse
import inspect
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from losskit.cli.strict_json import strict_json
from losskit.discovery.registry import get_spec, list_losses, plugins
from losskit.errors import nearest
from losskit.signatures import is_required, loss_signature
from losskit.spec import LossSpec
from losskit.text import printable

SCHEMA = 1
_MODULES = re.compile(r"\b(?:[a-z_]\w*\.)+(?=[A-Z])")  # of types, as in collections.abc.Sequence


def add_json(parser: argparse.ArgumentParser) -> None:
    """The option that every listing has."""
    parser.add_argument("--json", action="store_true", help="print JSON (schema 1)")


def print_json(**content: Any) -> None:
    """One JSON object with the schema's number first; what is not finite is null, and named."""
    print(strict_json({"schema": SCHEMA, **content}))


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Columns as wide as their widest cell; the last one is never padded. Names of files are cells."""
    rows = [[printable(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    for row in (header, *rows):
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        print("  ".join(cells).rstrip())


def configure_list(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``losskit list``."""
    parser.add_argument(
        "text", nargs="*", help="only losses that have these words in their name or summary"
    )
    parser.add_argument("--tag", help="only losses with this tag")
    parser.add_argument("--plugin", help="only this plugin's losses")
    add_json(parser)
    parser.set_defaults(run=_list)


def _list(arguments: argparse.Namespace) -> int:
    specs = [
        spec
        for spec in list_losses(tag=arguments.tag, plugin=arguments.plugin)
        if all(word.lower() in _searched(spec) for word in arguments.text)
    ]
    broken = [record for record in plugins() if not record.usable and record.status != "disabled"]
    if arguments.json:
        print_json(losses=[_as_dict(spec) for spec in specs])
    elif specs:
        print_table(
            ("LOSS", "PLUGIN", "TAGS", "SUMMARY"),
            [(s.name, s.namespace, ",".join(s.tags), s.summary) for s in specs],
        )
    if not specs:
        print(f"no loss matches{_hint(arguments)}; see `losskit list`", file=sys.stderr)
    for record in broken:
        print(
            f"losskit: plugin {record.name!r} is left out ({record.status}: {record.error}); "
            "see `losskit plugins`",
            file=sys.stderr,
        )
    return 0 if specs else 1


def _searched(spec: LossSpec) -> str:
    return " ".join((spec.qualified_name, *spec.aliases, spec.summary)).lower()


def _hint(arguments: argparse.Namespace) -> str:
    """Suggest existing names in place of an unknown tag, plugin or loss."""
    tags = sorted({tag for spec in list_losses() for tag in spec.tags})
    names = sorted(record.name for record in plugins())
    if arguments.tag not in (None, *tags):
        return f"{nearest(arguments.tag, tags)}; the tags are {', '.join(tags)}"
    if arguments.plugin not in (None, *names):
        return f"{nearest(arguments.plugin, names)}; the plugins are {', '.join(names)}"
    known = [name for spec in list_losses() for name in (spec.name, *spec.aliases)]
    return nearest(arguments.text[0], known) if arguments.text else ""


def _as_dict(spec: LossSpec) -> dict[str, Any]:
    return {
        "name": spec.name,
        "qualified_name": spec.qualified_name,
        "plugin": spec.namespace,
        "summary": spec.summary,
        "tags": list(spec.tags),
        "aliases": list(spec.aliases),
        "paper": spec.paper,
        "target": spec.target,
        "deprecated": spec.deprecated,
    }


def configure_show(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``losskit show``."""
    parser.add_argument("name", help="a loss's name, qualified name or alias")
    add_json(parser)
    parser.set_defaults(run=_show)


def _show(arguments: argparse.Namespace) -> int:
    spec = get_spec(arguments.name)
    signature = loss_signature(spec)
    if arguments.json:
        print_json(
            loss={
                **_as_dict(spec),
                "arguments": {n: _parameter(p) for n, p in signature["arguments"].items()},
                "inputs": {n: _parameter(p) for n, p in signature["inputs"].items()},
                "doc": signature["doc"],
                "config": example_config(spec, signature["inputs"]),
            }
        )
        return 0
    print(f"{spec.qualified_name}: {spec.summary}")
    if spec.aliases:
        print(f"also called  {', '.join(spec.aliases)}")
    if spec.paper:
        print(f"paper        {spec.paper}")
    print(f"tags         {', '.join(spec.tags) or '-'}")
    for title, parameters in (
        ("arguments", signature["arguments"]),
        ("inputs", signature["inputs"]),
    ):
        print(f"\n{title}:")
        for name, parameter in parameters.items():
            print(f"  {name}" + ("" if is_required(parameter) else f" = {parameter.default!r}"))
        if not parameters:
            print("  none")
    if signature["doc"]:
        print("\n" + signature["doc"])
    print("\nexample:")
    config = example_config(spec, signature["inputs"])
    for line in _yaml(config):
        print(f"  {line}")
    return 0


def _parameter(parameter: inspect.Parameter) -> dict[str, Any]:
    """Its type as text, and its default if it has one."""
    annotation, default = parameter.annotation, parameter.default
    described: dict[str, Any] = {"type": None, "required": is_required(parameter)}
    if annotation is not parameter.empty:
        text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
        described["type"] = _MODULES.sub("", text)
    if not is_required(parameter):
        described["default"] = default
    return described


def example_config(spec: LossSpec, inputs: Mapping[str, inspect.Parameter]) -> dict[str, Any]:
    """A config of the loss with its required arguments, which routes its required inputs."""
    required = [name for name, parameter in inputs.items() if is_required(parameter)]
    return {
        "type": spec.name,
        **_required_arguments(spec),
        "loss_weight": 1.0,
        "data_info": {n: n for n in required},
    }


def _required_arguments(spec: LossSpec) -> dict[str, Any]:
    """Collect the arguments that the loss requires, with its example's values where these are plain."""
    from losskit.discovery.targets import resolve_target

    needed = [n for n, p in loss_signature(spec)["arguments"].items() if is_required(p)]
    if not needed:
        return {}
    values = resolve_target(spec.example)().arguments if spec.example else {}
    plain = (str, int, float, bool, list, tuple, dict)
    return {
        name: (list(value) if isinstance(value, tuple) else value)
        if isinstance(value := values.get(name), plain)
        else "..."
        for name in needed
    }


def _yaml(config: Mapping[str, Any]) -> list[str]:
    import yaml

    return yaml.safe_dump(config, sort_keys=False).splitlines()


def configure_plugins(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``losskit plugins``."""
    parser.add_argument(
        "--requirements",
        action="store_true",
        help="print name==version lines, for a requirements file",
    )
    add_json(parser)
    parser.set_defaults(run=_plugins)


def _plugins(arguments: argparse.Namespace) -> int:
    records = plugins()
    bad = [record for record in records if record.status not in ("ok", "disabled")]
    if arguments.requirements:
        for line in sorted({f"{record.distribution}=={record.version}" for record in records}):
            print(line)
    elif arguments.json:
        print_json(
            plugins=[
                {
                    "name": r.name,
                    "distribution": r.distribution,
                    "version": r.version,
                    "status": r.status,
                    "error": r.error,
                    "hint": r.hint,
                    "import_ms": r.import_ms,
                    "losses": list(r.losses),
                }
                for r in records
            ]
        )
    else:
        print_table(
            ("PLUGIN", "DISTRIBUTION", "VERSION", "STATUS", "LOSSES", "IMPORT"),
            [
                (
                    r.name,
                    r.distribution,
                    r.version,
                    r.status,
                    str(len(r.losses)),
                    f"{r.import_ms:.1f} ms",
                )
                for r in records
            ],
        )
        for record in records:
            if record.status != "ok":
                print(f"\n{record.name}: {record.error or record.status}\n  {record.hint}")
    return 1 if bad else 0
