"""Texts to embeddings, each encoded once and kept."""

from __future__ import annotations

import copy
import math
import weakref
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from losskit.backbones import Backbone, FeatureCache, stamp_of
from losskit.errors import nearest
from losskit.text import one_line
from losskit_clip.models import Tokenizer, check_model, tokenizer_for
from losskit_clip.towers import text_tower

#: One text, several, or texts with weights.
Prompts: TypeAlias = str | Sequence[str] | Mapping[str, float]
Templates: TypeAlias = Literal["imagenet", "simple"] | Sequence[str] | None
_KEPT = 4096  # texts; 8 MB of embeddings for a ViT-B
_ENCODERS: weakref.WeakSet[TextEncoder] = weakref.WeakSet()


def weighted_prompts(prompts: Prompts | None, argument: str = "prompts") -> dict[str, float]:
    """Texts with their weights; 1 where none is given, and 2 for a text that is given twice.

    Raises:
        TypeError: not texts, or a weight that is no number.
        ValueError: a weight that is 0 or not finite, or an empty collection.
    """
    if prompts is None:
        return {}
    if isinstance(prompts, str):
        prompts = [prompts]
    if not isinstance(prompts, Mapping):
        if not isinstance(prompts, Sequence):
            raise TypeError(
                f"{argument} must be text, texts or texts with weights, not {prompts!r}"
            )
        for text in prompts:
            if not isinstance(text, str):
                raise TypeError(f"{argument} must hold texts, not {text!r}")
        prompts = Counter(prompts)  # a text given twice counts twice
    if not prompts:
        raise ValueError(f"{argument} is empty: give at least one text, or leave it out")
    for text, weight in prompts.items():
        if not isinstance(text, str):
            raise TypeError(f"{argument} must hold texts, not {text!r}")
        if isinstance(weight, bool) or not isinstance(weight, (int, float)):
            raise TypeError(
                f"the weight of {text!r} in {argument} must be a number, not {weight!r}"
            )
        if not math.isfinite(weight):
            raise ValueError(f"the weight of {text!r} in {argument} must be finite, not {weight!r}")
        if weight == 0:
            raise ValueError(f"the weight of {text!r} in {argument} is 0: leave the text out")
    return {text: float(weight) for text, weight in prompts.items()}


def fill_templates(text: str, templates: Templates) -> list[str]:
    """The sentences a text makes: ``"cat"`` in ``"a photo of a {}."``.

    Args:
        text: what goes into the templates.
        templates: ``None``: the text itself; ``"imagenet"``: the 80 of CLIP's ImageNet evaluation;
            ``"simple"``: its 7 best; or sentences with ``{}`` in them.

    Raises:
        ValueError: the name is unknown, there is no template, or one has no ``{}``.
        TypeError: a template is no text.
    """
    if templates is None:
        return [text]
    if isinstance(templates, str):
        import open_clip

        sets: dict[str, Any] = {
            "imagenet": open_clip.OPENAI_IMAGENET_TEMPLATES,
            "simple": open_clip.SIMPLE_IMAGENET_TEMPLATES,
        }
        if templates not in sets:
            raise ValueError(
                f"templates must be 'imagenet', 'simple' or sentences with '{{}}', not "
                f"{templates!r}{nearest(templates, sets)}"
            )
        return [template(text) for template in sets[templates]]
    if not isinstance(templates, Sequence) or not templates:
        raise ValueError(
            f"templates must hold at least one sentence with '{{}}', not {templates!r}"
        )
    for template in templates:
        if not isinstance(template, str):
            raise TypeError(f"templates must hold sentences, not {template!r}")
        if "{}" not in template:
            raise ValueError(f"the template {template!r} has no '{{}}' for the text to go into")
    return [template.replace("{}", text) for template in templates]


class TextEncoder:
    """Embeds texts with a model's text tower; what was embedded before is not embedded again.

    An embedding is the mean over templates of normalised embeddings, so that differences of two are
    StyleGAN-NADA's text direction.

    Args:
        model: an open_clip name or model.
        weights: its weights.
        templates: see `fill_templates`.
        tokenizer: for models without one of their own.
    """

    def __init__(
        self,
        model: str | nn.Module,
        weights: str | None,
        *,
        templates: Templates = None,
        tokenizer: Tokenizer | None = None,
    ) -> None:
        fill_templates("", templates)
        fixed = templates is None or isinstance(templates, str)
        self.model, self.weights = check_model(model, weights)
        self.templates: Templates = templates if fixed else tuple(templates or ())
        if tokenizer is not None and not callable(tokenizer):
            raise TypeError(f"tokenizer must be callable with a list of texts, not {tokenizer!r}")
        self.tokenizer = tokenizer
        self.tower: Backbone | None = text_tower(self.model, self.weights)
        self._texts: dict[str, Tensor] = {}
        self._tokens = FeatureCache()
        _ENCODERS.add(self)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_tokens": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _tokens=FeatureCache())
        _ENCODERS.add(self)

    def __deepcopy__(self, memo: dict[int, Any]) -> TextEncoder:
        # A model given as an object is shared: a copy of it would be another model, and as large.
        twin = copy.copy(self)
        twin._texts = dict(self._texts)
        return twin

    def free(self) -> None:
        """Let the text tower go, for every encoder on this model in the process.

        It is loaded again where a text comes that is not known yet.
        """
        for encoder in tuple(_ENCODERS):
            if (encoder.model, encoder.weights) == (self.model, self.weights):
                encoder.tower = None

    def texts(self, texts: Sequence[str], device: torch.device) -> Tensor:
        """Embeddings of strings, ``(n, d)``."""
        new = [text for text in dict.fromkeys(texts) if text not in self._texts]
        if new:
            if len(self._texts) + len(new) > _KEPT:
                self._texts.clear()
                new = list(dict.fromkeys(texts))
            filled = [fill_templates(text, self.templates) for text in new]
            tokenize = tokenizer_for(self.model, self.tokenizer)
            with torch.device("cpu"):  # whatever the default: tokenizers ask for none
                tokens = tokenize([sentence for sentences in filled for sentence in sentences])
            embeddings = F.normalize(self._encode(tokens.to(device)), dim=-1)
            means = embeddings.view(len(new), -1, embeddings.shape[-1]).mean(1)
            self._texts.update(zip(new, means.unbind(), strict=True))
        return torch.stack([self._texts[text].to(device) for text in texts])

    def tokens(self, tokens: Tensor, device: torch.device) -> Tensor:
        """Embeddings of token ids ``(n, context)``, kept while that very tensor lives unchanged.

        It may be of one text, ``(context,)``, and lie on another device.
        """
        group, stamp = hash(device), stamp_of(tokens)
        known = None if stamp is None else self._tokens.get(group, tokens, stamp)
        if known is not None:
            return known["embedding"]
        ids = tokens.to(device)
        embeddings = F.normalize(self._encode(ids if ids.ndim == 2 else ids[None]), dim=-1)
        if stamp is not None:
            self._tokens.put(group, tokens, stamp, {"embedding": embeddings})
        return embeddings

    def _encode(self, tokens: Tensor) -> Tensor:
        if self.tower is None:
            self.tower = text_tower(self.model, self.weights)
        return self.tower.features(tokens.float(), grad=False)["embedding"]

    def __call__(self, text: str | Sequence[str] | Tensor, device: torch.device) -> Tensor:
        """Embeddings of one text, several, or their tokens: ``(n, d)``.

        Raises:
            TypeError: it is none of these.
            ValueError: tokens of a wrong shape.
        """
        if isinstance(text, Tensor):
            if text.is_floating_point() or text.dtype == torch.bool:
                raise TypeError(f"text as a tensor must hold token ids, not {text.dtype}")
            if text.ndim not in (1, 2):
                raise ValueError(f"text must have the shape (n, context), not {tuple(text.shape)}")
            try:
                return self.tokens(text, device)
            except (RuntimeError, IndexError) as error:
                raise ValueError(
                    f"the model's text tower does not take text of shape {tuple(text.shape)}: "
                    f"{one_line(error)[:200]}; tokens come from the model's own tokenizer"
                ) from error
        texts = (
            [text] if isinstance(text, str) else list(text) if isinstance(text, Sequence) else []
        )
        if not texts or not all(isinstance(item, str) for item in texts):
            raise TypeError(f"text must be a string, strings or token ids, not {text!r:.80}")
        return self.texts(texts, device)
