"""Pretrained weights: files and their checksums, safe loading, fetching, what packages ship.

Imports discovery; torch only when weights are loaded.
"""

from losskit.weights.checksums import Status, record_path, verify_weights
from losskit.weights.files import (
    SUFFIXES,
    find_file,
    find_weights,
    known_weights,
    load_weights,
    pull_weights,
    random_seed,
)
from losskit.weights.hub import hub_file
from losskit.weights.places import cache_dir, weights_path
from losskit.weights.shipped import shipped_file

__all__ = [
    "SUFFIXES",
    "Status",
    "cache_dir",
    "find_file",
    "find_weights",
    "hub_file",
    "known_weights",
    "load_weights",
    "pull_weights",
    "random_seed",
    "record_path",
    "shipped_file",
    "verify_weights",
    "weights_path",
]
