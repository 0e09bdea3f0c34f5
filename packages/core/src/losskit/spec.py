"""Specs: a plugin's declarations, as plain data that can be read without importing torch."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from losskit.text import steers_terminals

_TARGET = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")
_NAME = re.compile(r"[A-Za-z][\w.-]*")


def _check_strings(spec: Any, *keys: str) -> None:
    for key in keys:
        value = getattr(spec, key)
        if not isinstance(value, str):
            raise TypeError(f"{type(spec).__name__}.{key} must be a string, not {value!r}")
        _check_printable(spec, key, value)


def _keep_tuples(spec: Any, *keys: str) -> None:
    """Check fields that hold several strings; a list becomes a tuple."""
    for key in keys:
        value = getattr(spec, key)
        if isinstance(value, str) or not all(isinstance(item, str) for item in value):
            raise TypeError(
                f"{type(spec).__name__}.{key} must be a tuple of strings, not {value!r}"
            )
        for item in value:
            _check_printable(spec, key, item)
        object.__setattr__(spec, key, tuple(value))


def _check_printable(spec: Any, key: str, value: str) -> None:
    # Of new lines the caller has its own word.
    if any(steers_terminals(char) for char in value if char != "\n"):
        raise ValueError(
            f"{type(spec).__name__}.{key} must not hold control characters, which steer a "
            f"terminal, not {value!r}"
        )


def _check_named_target(spec: Any, what: str, *, optional: bool = False) -> None:
    """Check the fields that commands, presets and backbones have in common."""
    _check_strings(spec, "name", "target", "summary", "namespace")
    if not _NAME.fullmatch(spec.name):
        raise ValueError(f"{spec.name!r} is not a {what} name: letters, digits, '_', '.', '-'")
    if not (optional and spec.target == "") and not _TARGET.fullmatch(spec.target):
        raise ValueError(
            f"{type(spec).__name__}.target must be 'module:attribute', not {spec.target!r}"
        )
    if "\n" in spec.summary:
        raise ValueError(f"the summary of {spec.name!r} must be one line")


@dataclass(frozen=True, slots=True)
class LossSpec:
    """A loss a plugin supplies.

    Args:
        name: what configs call it (``"GANLoss"``).
        target: ``"module:attribute"`` of an ``nn.Module`` class or of a function; imported only
            when a loss is made.
        summary: one line, for listings.
        tags: words to filter by (``"adversarial"``, ``"penalty"``, ``"pixel"``).
        aliases: other names of the same loss.
        example: ``"module:attribute"`` of a factory that returns an `Example`;
            the conformance kit, the docs and the benchmarks run it.
        paper: where the loss comes from, as a citation with its arXiv number or DOI.
        deprecated: empty, or what to use instead; using the loss then warns.
        namespace: the plugin's name; set by discovery.

    Raises:
        ValueError: a name or target is not of the form above.
        TypeError: a field has the wrong type.
    """

    name: str
    target: str
    summary: str = ""
    tags: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    example: str | None = None
    paper: str = ""
    deprecated: str = ""
    namespace: str = ""

    def __post_init__(self) -> None:
        _check_strings(self, "name", "target", "summary", "paper", "deprecated", "namespace")
        _keep_tuples(self, "tags", "aliases")
        for name in (self.name, *self.aliases):
            if not _NAME.fullmatch(name):
                raise ValueError(f"{name!r} is not a loss name: letters, digits, '_', '.', '-'")
        for key in ("target", "example"):
            value = getattr(self, key)
            if value is not None and not _TARGET.fullmatch(value):
                raise ValueError(f"LossSpec.{key} must be 'module:attribute', not {value!r}")
        if "\n" in self.summary:
            raise ValueError(f"the summary of {self.name!r} must be one line")

    @property
    def qualified_name(self) -> str:
        """``"gan/GANLoss"``: unique among all installed plugins."""
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


@dataclass(frozen=True, slots=True)
class WeightsSpec:
    """A pretrained weights file a plugin can use.

    Args:
        name: what ``weights=`` and ``losskit weights`` call it (``"arcface-ir-se50"``).
        url: where it can be fetched.
        sha256: hexadecimal checksum, verified before the file is ever loaded. ``None`` where nobody
            publishes one: the first file fetched is then recorded, and any other refused.
        license: the weights' licence, as its authors name it; ``"unknown"`` if they do not.
        size: bytes; ``None`` where it is not known.
        summary: one line: what it was trained on, who published it.
    """

    name: str
    url: str
    sha256: str | None
    license: str
    size: int | None
    summary: str = ""
    namespace: str = ""

    def __post_init__(self) -> None:
        _check_strings(self, "name", "url", "license", "summary", "namespace")
        if isinstance(self.size, bool) or not isinstance(self.size, (int, type(None))):
            raise TypeError(f"WeightsSpec.size must be a number of bytes, not {self.size!r}")
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"{self.name!r} is not a weights name: letters, digits, '_', '.', '-'")
        if self.sha256 is not None:
            _check_strings(self, "sha256")
            if not re.fullmatch(r"[0-9a-f]{64}", self.sha256):
                raise ValueError(
                    f"sha256 of {self.name!r} must be 64 hexadecimal digits, or None if none is known"
                )


@dataclass(frozen=True, slots=True)
class CommandSpec:
    """A subcommand a plugin adds to ``losskit``.

    Args:
        name: the word after ``losskit``.
        target: ``"module:attribute"`` of ``def configure(parser: argparse.ArgumentParser) -> None``;
            it adds arguments and calls ``parser.set_defaults(run=function)``, where
            ``function(namespace)`` returns the exit code.
        summary: one line, for ``losskit --help``.
        example: arguments that make a useful call, for the command's own help
            (``"photo.png --out result"``).
    """

    name: str
    target: str
    summary: str = ""
    namespace: str = ""
    example: str = ""

    def __post_init__(self) -> None:
        _check_named_target(self, "command")
        _check_strings(self, "example")


@dataclass(frozen=True, slots=True)
class PresetSpec:
    """A named, published combination of losses.

    Args:
        name: what ``preset:`` calls it (``"stylegan2"``).
        target: ``"module:attribute"`` of a function of keyword arguments (the ``loss_config`` keys)
            that returns the config the preset stands for.
        summary: one line.
        paper: its citation; the config may say of each number where it is from (``sources``).
    """

    name: str
    target: str
    summary: str = ""
    paper: str = ""
    namespace: str = ""

    def __post_init__(self) -> None:
        _check_named_target(self, "preset")
        _check_strings(self, "paper")


@dataclass(frozen=True, slots=True)
class NetworkFile:
    """Location of a published network's weights, present or not, in the library that loads them.

    Args:
        path: the file, or the folder that its library would put it into; empty where that is not
            known, as in a package that is not installed.
        here: whether the file is there.
        source: the address that it is fetched from, or the package that it comes in.
        fetch: the command that brings it.
    """

    path: str
    here: bool
    source: str
    fetch: str

    @property
    def downloaded(self) -> bool:
        """Return whether the file is fetched from an address at first use, not shipped in a package."""
        return "://" in self.source


@dataclass(frozen=True, slots=True)
class BackboneSpec:
    """A family of frozen networks: feature extractors that a plugin supplies, or losses load.

    Args:
        name: the prefix in ``backbone="name/..."``.
        target: ``"module:attribute"`` of a factory; see ``losskit.backbones``. Empty for a family
            that its own losses alone look through.
        summary: one line.
        packaged: networks of it whose true weights come in an installed package, so that making
            them fetches nothing.
        files: ``"module:attribute"`` of a function of a network's name that answers with its
            `NetworkFile`, for ``losskit weights`` and ``doctor``; it
            loads and fetches nothing.
        networks: those that losses use by default, which are listed unasked.
        known: ``"module:attribute"`` of a function without arguments that returns the names of all
            networks that ``files`` can answer for, for ``losskit weights list --all``.

    Raises:
        ValueError: a name or target is not of the form above.
        TypeError: a field has the wrong type.
    """

    name: str
    target: str = ""
    summary: str = ""
    namespace: str = ""
    packaged: tuple[str, ...] = ()
    files: str = ""
    networks: tuple[str, ...] = ()
    known: str = ""

    def __post_init__(self) -> None:
        _check_strings(self, "files", "known")
        _check_named_target(self, "backbone", optional=bool(self.files))
        _keep_tuples(self, "packaged", "networks")
        for key in ("files", "known"):
            value = getattr(self, key)
            if value and not _TARGET.fullmatch(value):
                raise ValueError(f"BackboneSpec.{key} must be 'module:attribute', not {value!r}")
        if (self.networks or self.known) and not self.files:
            raise ValueError(
                "BackboneSpec.networks and known need files, which finds their weights"
            )


@dataclass(frozen=True, slots=True)
class Example:
    """Arguments and inputs to try a loss with: what the factory in ``LossSpec.example`` returns.

    The factory is called as ``factory(batch=2, height=16, width=16)`` (after seeding torch) and
    returns float32 CPU tensors.

    Args:
        arguments: for the constructor.
        inputs: for ``forward``, by name; tensors, modules or plain values.
        grad: the inputs that should receive gradients.
        frozen: tensor inputs that must never receive one (``target``).
        image_range: the values that images among the inputs may take.
        min_size: smallest height and width the loss is defined for.
        expected_failures: check of the conformance kit → why this loss cannot pass it, by
            definition. Strict: one that passes after all is a failure.
    """

    arguments: Mapping[str, Any] = field(default_factory=dict)
    inputs: Mapping[str, Any] = field(default_factory=dict)
    grad: tuple[str, ...] = ("pred",)
    frozen: tuple[str, ...] = ()
    image_range: tuple[float, float] = (0.0, 1.0)
    min_size: int = 1
    expected_failures: Mapping[str, str] = field(default_factory=dict)
