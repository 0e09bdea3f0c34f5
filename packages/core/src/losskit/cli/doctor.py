"""``losskit doctor``: is this installation sound, and what to do where it is not."""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import platform
import subprocess
import sys
from dataclasses import dataclass

from losskit.cli.listing import add_json, print_json
from losskit.cli.networks import Network, default_networks
from losskit.discovery.extras import Requirement, known_requirements
from losskit.discovery.registry import list_weights, plugins
from losskit.errors import nearest
from losskit.text import printable

#: What the core can use and no package's metadata need name.
_OTHERS = ("torchvision", "safetensors")
_VARIABLES = ("LOSSKIT_PLUGINS", "LOSSKIT_DISABLE", "LOSSKIT_STRICT", "LOSSKIT_CACHE")


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report: ``ok``, ``note`` or ``problem``, and what to do about it."""

    level: str
    subject: str
    text: str
    hint: str = ""


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``losskit doctor``."""
    add_json(parser)
    parser.set_defaults(run=_doctor)


def _doctor(arguments: argparse.Namespace) -> int:
    libraries = _torch()
    findings = [*_environment(), *libraries, *_plugin_findings(), *_weights()]
    findings += _networks(any(finding.level == "problem" for finding in libraries))
    problems = [finding for finding in findings if finding.level == "problem"]
    if arguments.json:
        print_json(
            ok=not problems,
            findings=[
                {"level": f.level, "subject": f.subject, "text": f.text, "hint": f.hint}
                for f in findings
            ],
        )
        return 1 if problems else 0
    for finding in findings:
        mark = {"ok": "✓", "note": "·", "problem": "✗"}[finding.level]
        print(f"{mark} {finding.subject}: {finding.text}")
        if finding.hint:
            print(f"    {finding.hint}")
    print("no problem found" if not problems else f"{len(problems)} problem(s) found")
    return 1 if problems else 0


def _environment() -> list[Finding]:
    findings = [Finding("ok", "python", f"{platform.python_version()} on {platform.platform()}")]
    findings += _packages()
    findings += [
        Finding("note", name, f"set to {os.environ[name]!r}")
        for name in _VARIABLES
        if name in os.environ
    ]
    return findings


def _packages() -> list[Finding]:
    """Check the packages that losskit's and the plugins' metadata name: required, or brought by an extra."""
    required: dict[str, Requirement | None] = {"losskit": None}
    for requirement in sorted(known_requirements(), key=lambda r: bool(r.extra)):
        required.setdefault(requirement.package, requirement)
    return [_package(name, why) for name, why in (dict.fromkeys(_OTHERS) | required).items()]


def _package(name: str, why: Requirement | None) -> Finding:
    try:
        return Finding("ok", name, importlib.metadata.version(name))
    except importlib.metadata.PackageNotFoundError:
        if why is None:
            return Finding("note", name, "not installed", f"pip install {name}")
        if why.extra:
            return Finding("note", name, "not installed", why.install)
        return Finding("problem", name, f"not installed; {why.distribution} needs it", why.install)


def _torch() -> list[Finding]:
    """Import torch and torchvision in a process of their own: a mismatched pair may even crash."""
    code = (
        "import torch; print(torch.__version__, torch.cuda.is_available(), torch.get_num_threads())\n"
        "import torchvision; print(torchvision.__version__)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    if done.returncode == 0:
        version, cuda, threads = done.stdout.split()[:3]
        device = "CUDA available" if cuda == "True" else f"CPU, {threads} threads"
        return [
            Finding("ok", "torch and torchvision", f"import together; torch {version}, {device}")
        ]
    last = (
        done.stderr.strip().splitlines()[-1] if done.stderr.strip() else f"exit {done.returncode}"
    )
    if "torchvision::nms" in done.stderr or "torchvision::" in done.stderr:
        return [
            Finding(
                "problem",
                "torch and torchvision",
                f"are built for different variants of torch ({last})",
                "pip uninstall torch torchvision, then pip install torchvision: it brings its torch",
            )
        ]
    if "No module named 'torchvision'" in last:
        return [Finding("note", "torchvision", "not installed; losskit-perceptual needs it")]
    return [Finding("problem", "torch", last, "pip install torch")]


def _plugin_findings() -> list[Finding]:
    findings = []
    installed = {name for record in plugins() for name in (record.name, record.distribution)}
    for variable in ("LOSSKIT_PLUGINS", "LOSSKIT_DISABLE"):
        named = {part.strip() for part in os.environ.get(variable, "").split(",") if part.strip()}
        for name in sorted(named - installed):
            text = f"names {name!r}, which is not installed{nearest(name, installed)}"
            findings.append(Finding("problem", variable, text))
    for record in plugins():
        text = (
            f"{record.status}, {len(record.losses)} losses, imported in {record.import_ms:.1f} ms"
        )
        if record.status == "ok":
            findings.append(Finding("ok", f"plugin {record.name} {record.version}", text))
        else:
            level = "note" if record.status == "disabled" else "problem"
            detail = f"{record.status}{': ' if record.error else ''}{record.error}"
            findings.append(
                Finding(level, f"plugin {record.name} {record.version}", detail, record.hint)
            )
    return findings


def _weights() -> list[Finding]:
    from losskit.weights import verify_weights, weights_path

    findings = []
    for spec in list_weights():
        status = verify_weights(spec)
        subject = f"weights {spec.name}"
        if status == "ok":
            findings.append(Finding("ok", subject, f"at {weights_path(spec)}"))
        elif status == "recorded":
            text = f"no checksum known; the file that came first, at {weights_path(spec)}"
            findings.append(Finding("note", subject, text))
        else:
            level = "problem" if status == "wrong" else "note"
            text = "no checksum known, and none recorded yet" if status == "unrecorded" else status
            findings.append(Finding(level, subject, text, f"losskit weights pull {spec.name}"))
    return findings


def _networks(torch_fails: bool) -> list[Finding]:
    """Check the networks that losses load through other libraries by default."""
    if torch_fails:  # importing it here too might end this process
        return [Finding("note", "networks", "not looked up: torch or torchvision fails")]
    networks = default_networks()
    if not networks:
        return []
    here = sum(network.status == "present" for network in networks)
    text = f"{here} of the {len(networks)} that losses use by default are here"
    summary = Finding("ok" if here == len(networks) else "note", "networks", text)
    return [summary, *map(_network, networks)]


def _network(network: Network) -> Finding:
    subject, file = f"network {network.name}", network.file
    if file is None:
        level = "note" if network.absent else "problem"
        return Finding(level, subject, f"cannot be looked up: {network.error}")
    if file.here:
        return Finding("ok", subject, f"at {printable(file.path)}")
    if file.downloaded:
        text = f"missing; downloaded when first used, from {file.source} to {file.path}"
    else:
        text = f"missing; comes with {file.source}"
    return Finding("note", subject, printable(text), file.fetch)
