"""Whatever is in a config or a spec: a LosskitError with a message of one line, or a loss."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import losskit
from losskit.discovery.loading import PluginRecord, load
from losskit.discovery.presets import preset_config
from losskit.errors import LosskitError
from losskit.hookspecs import hookimpl
from losskit.objectives.config import load_objective, read_config
from losskit.objectives.term import ROUTING_KEYS
from losskit.spec import BackboneSpec, CommandSpec, LossSpec, PresetSpec, WeightsSpec

FUZZ = settings(
    max_examples=80,
    deadline=None,
    derandomize=True,  # a failure must be the same for everybody
    suppress_health_check=list(HealthCheck),
)
CORE = [spec.name for spec in losskit.list_losses(plugin="core")]

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**20), 10**20),
    st.floats(allow_nan=True),
    st.text(max_size=12),
    st.sampled_from(["mean", "none", "raise", "pred", "target", "L1Loss", "core/L1Loss", "a\nb"]),
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3)
    ),
    max_leaves=6,
)
keys = st.one_of(
    st.sampled_from(["type", "reduction", "eps", "delta", "adaptive", *ROUTING_KEYS]),
    st.text(max_size=8),
)
types = st.one_of(st.sampled_from(CORE), values)
configs = st.builds(
    lambda config, kind: {**config, "type": kind}, st.dictionaries(keys, values, max_size=5), types
)


def one_line_or_fine(function: Any, *arguments: Any) -> Any:
    """Run it; anything but a LosskitError with a message of one line is a failure of the test."""
    try:
        return function(*arguments)
    except LosskitError as error:
        message = str(error)
        assert message
        assert "\n" not in message
        return None


@FUZZ
@given(config=st.one_of(configs, st.dictionaries(keys, values, max_size=4), values))
@example(config={"type": "L1Loss", "data_info": {"pred": "a\nb", "tar\nget": 1}})
@example(config={"type": "L1Loss", "interval": math.nan})
@example(config={"type": "L1Loss", "loss_weight": 10**400})
def test_build_any_config(config: Any) -> None:
    term = one_line_or_fine(losskit.build, config)
    assert term is None or isinstance(term, losskit.Term)


@FUZZ
@given(
    name=st.one_of(st.text(max_size=20), values),
    arguments=st.dictionaries(st.text(max_size=6), values, max_size=2),
)
def test_create_any_name(name: Any, arguments: dict[str, Any]) -> None:
    one_line_or_fine(lambda: losskit.create(name, **arguments))


@FUZZ
@given(
    config=st.dictionaries(
        st.sampled_from(["terms", "on_nonfinite", "x\ny"]) | st.text(max_size=5),
        st.lists(configs, max_size=2) | values,
        max_size=3,
    )
)
def test_load_any_objective(config: dict[str, Any]) -> None:
    one_line_or_fine(load_objective, config)


@FUZZ
@given(
    terms=st.lists(configs, min_size=1, max_size=3),
    outputs=st.dictionaries(
        st.sampled_from(["pred", "target", "iteration", "mask"]) | st.text(max_size=4),
        values,
        max_size=4,
    ),
)
def test_a_missing_output_is_named(terms: list[dict[str, Any]], outputs: dict[str, Any]) -> None:
    objective = one_line_or_fine(load_objective, {"terms": terms})
    if objective is not None and not {"pred", "pred_alpha"} & set(outputs):
        outputs.pop("iteration", None)
        one_line_or_fine(objective, outputs)


@FUZZ
@given(
    data=st.binary(max_size=80) | st.text(max_size=80).map(str.encode),
    suffix=st.sampled_from([".yaml", ".json", ".toml", ".py", ""]),
)
@example(data=b"terms: !!python/object/apply:os.system ['true']", suffix=".yaml")
@example(data=b"a: &a [*a]", suffix=".yaml")
@example(data=b"[" * 3000, suffix=".json")
@example(data=b"{" * 300, suffix=".yaml")
@example(data=b"1" * 5000, suffix=".json")
@example(data=b"2001-99-99", suffix=".yaml")
@example(data=b"? [a]\n: b", suffix=".yaml")
@example(data=b"a: 0x", suffix=".yaml")
def test_read_any_file(data: bytes, suffix: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = _folder(tmp_path_factory) / f"config{suffix}"
    path.write_bytes(data)
    one_line_or_fine(read_config, path)
    one_line_or_fine(load_objective, path)


def _folder(factory: pytest.TempPathFactory, made: list[Path] = []) -> Path:  # noqa: B006
    if not made:
        made.append(factory.mktemp("fuzz"))
    return made[0]


@FUZZ
@given(config=configs)
def test_what_json_can_say_means_the_same_read_back(config: dict[str, Any]) -> None:
    """A config that builds also builds from its JSON, and is logged under the same name."""
    term = one_line_or_fine(losskit.build, config)
    if term is not None:
        again = losskit.build(json.loads(json.dumps(config)))
        assert (again.name, again.monitor) == (term.name, term.monitor)


def made_or_refused(kind: type[Any], arguments: dict[str, Any]) -> Any:
    """Plugin authors see these: ValueError or TypeError of one line, never a half-made spec."""
    refusal = ""
    try:
        spec = kind(**arguments)
    except (ValueError, TypeError) as error:
        refusal = str(error)
    else:
        hash(spec)
        assert repr(spec)
        return spec
    assert refusal
    assert "\n" not in refusal
    return None


TARGET = st.one_of(values, st.just("a.b:c"))


@FUZZ
@given(
    arguments=st.fixed_dictionaries(
        {},
        optional={
            **dict.fromkeys(("name", "summary", "tags", "aliases", "paper", "deprecated"), values),
            **dict.fromkeys(("target", "example"), TARGET),
        },
    )
)
def test_any_loss_spec_is_valid_or_refused(arguments: dict[str, Any]) -> None:
    spec = made_or_refused(LossSpec, {"name": "FineLoss", "target": "a:b", **arguments})
    if spec is not None:
        assert spec.qualified_name == spec.name
        assert all(isinstance(word, str) for word in (*spec.tags, *spec.aliases))


@FUZZ
@given(
    kind=st.sampled_from([CommandSpec, PresetSpec, BackboneSpec]),
    arguments=st.fixed_dictionaries(
        {}, optional={"name": values, "target": TARGET, "summary": values}
    ),
)
def test_any_other_spec_is_valid_or_refused(kind: type[Any], arguments: dict[str, Any]) -> None:
    made_or_refused(kind, {"name": "fine", "target": "a:b", **arguments})


@FUZZ
@given(
    arguments=st.fixed_dictionaries(
        {},
        optional=dict.fromkeys(("name", "url", "sha256", "license", "size", "summary"), values),
    )
)
def test_any_weights_spec_is_valid_or_refused(arguments: dict[str, Any]) -> None:
    base = {"name": "net", "url": "https://example.org/net", "sha256": "0" * 64, "license": "MIT"}
    made_or_refused(WeightsSpec, {**base, "size": 1, **arguments})


hook_values = st.one_of(
    values,
    st.lists(values | st.builds(LossSpec, st.sampled_from(["A", "B"]), st.just("a:b")), max_size=3),
    st.just(LossSpec),
    st.just(print),
    st.just(torch),
)


@FUZZ
@given(
    returned=hook_values,
    api=values,
    hook=st.sampled_from(
        sorted(["losskit_losses", "losskit_presets", "losskit_weights", "losskit_loses"])
    ),
)
def test_whatever_a_plugin_returns_becomes_a_record(returned: Any, api: Any, hook: str) -> None:
    module = ModuleType("losskit_fuzzed")
    module.api = api  # type: ignore[attr-defined]
    setattr(module, hook, hookimpl(lambda: returned))
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(__import__("sys").modules, "losskit_fuzzed", module)
        loaded = load(PluginRecord("fuzzed", "losskit-fuzzed", "1", module="losskit_fuzzed"))
    assert loaded.record.status in ("ok", "invalid", "incompatible")
    assert "\n" not in loaded.record.error + loaded.record.hint
    if loaded.record.status != "ok":
        assert loaded.record.error
        assert loaded.record.hint
        assert not loaded.specs


@FUZZ
@given(name=st.text(max_size=20), options=st.dictionaries(st.text(max_size=5), values, max_size=2))
def test_any_preset_name(name: str, options: dict[str, Any]) -> None:
    one_line_or_fine(preset_config, name, options)
