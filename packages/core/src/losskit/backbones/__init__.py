"""Frozen networks that losses look through, shared by all of them.

The trunk (VGG, CLIP, a face network) is nearly the whole cost of a perceptual loss, so it is run
once per image per step, however many losses look at it.

For users: nothing to do. Inside an `Objective` sharing is on; around losses
called by hand, write ``with losskit.shared_features():``. Inside it, add the losses up before
calling ``backward()``: they share one graph.

For authors of losses::

    class MyNetwork(FeatureNetwork):
        layer_names = ("early", "late")           # in the order they are computed

        def forward(self, image, layers):          # stop at the deepest of them
            ...
            return tuple(found[name] for name in layers)

    def build_my_network(weights: str) -> MyNetwork:   # module level; arguments hashable
        ...

    class MyLoss(Loss):
        def __init__(self, weights="default"):
            super().__init__()
            self.backbone = shared_backbone(
                build_my_network, weights, layers=("late",), transform=InputNorm.imagenet()
            )

        def forward(self, pred, target):
            fake = self.backbone.features(pred)["late"]
            real = self.backbone.features(target, grad=False)["late"]
            return (fake.float() - real.float()).abs().mean()

What that gives:

* **One object** per ``(build function, arguments)`` in a process, for as long as a loss uses it. A
  deep copy of a loss shares it, an unpickled one finds or rebuilds it.
* **One pass** per image in a step: the union of the layers that the step's losses want, no deeper.
* **A cache** of a no-grad image's features while that very tensor lives and is unchanged
  (identity, version counter, address, type; on the CPU a checksum too, which sees writes through
  NumPy or ``.data``; on an accelerator do not write through ``.data``). At most
  ``set_cache_size(n)`` images per network. In inference mode no versions are counted:
  there features are shared within a step, on the CPU, and not cached.
* **Frozen**: parameters take no gradient, ``train()`` does nothing, and the network is no submodule
  of the loss: not in its ``state_dict()``, ``parameters()``, DDP or EMA.
* **Follows the image**: a copy of the network is made per device and type, when an image of that
  device and type first comes. The weights it was built with never change, so going to another type
  and back loses nothing.
* **Own precision**: the network runs in float32 (float64 for a float64 image) even under autocast,
  unless the loss asks for ``precision="bf16"`` or ``"fp16"``. Compute distances in float32.
* Under ``torch.compile`` caching steps aside and the pass is traced, without a graph break.
* With ``torch.utils.checkpoint`` put the whole objective inside, not one loss of several: what is
  computed again finds nothing of the step it belonged to.

The build function runs with torch seeded (and the global generator left alone), so that random
weights are the same for everyone who asks for them, in this process and others. ``transform`` is
what the network needs done to the image first. It must be deterministic and hashable (a frozen
dataclass, a function); losses with equal transforms share passes. It runs inside the pass: hand the
*original* tensor to ``features``, since a resized one is a new tensor at every call.

A plugin that supplies networks for any perceptual loss to look through names a family with a
``BackboneSpec``; its target is a function ``(name, weights) -> BackboneRecipe``.
"""

from losskit.backbones.compiler import uncompiled
from losskit.backbones.families import BackboneRecipe, backbone_recipe
from losskit.backbones.handle import Backbone, shared_backbone
from losskit.backbones.network import EmbeddingNetwork, FeatureNetwork, InputNorm
from losskit.backbones.tensor_cache import (
    FeatureCache,
    clear_features,
    current_step,
    has_storage,
    set_cache_size,
    shared_features,
    stamp_of,
)

__all__ = [
    "Backbone",
    "BackboneRecipe",
    "EmbeddingNetwork",
    "FeatureCache",
    "FeatureNetwork",
    "InputNorm",
    "backbone_recipe",
    "clear_features",
    "current_step",
    "has_storage",
    "set_cache_size",
    "shared_backbone",
    "shared_features",
    "stamp_of",
    "uncompiled",
]
