"""Files that facenet-pytorch ships: MTCNN's weights, which its class reads itself."""

from __future__ import annotations

from losskit.errors import nearest
from losskit.spec import NetworkFile
from losskit.weights import shipped_file

_FILES = ("data/pnet.pt", "data/rnet.pt", "data/onet.pt")


def names() -> list[str]:
    """List the names that `file_of` knows."""
    return ["mtcnn"]


def file_of(name: str) -> NetworkFile:
    """Locate MTCNN's weights in facenet-pytorch.

    Raises:
        ValueError: it is another network's name.
    """
    if name != "mtcnn":
        raise ValueError(f"facenet-pytorch ships no {name!r}{nearest(name, names())}")
    return shipped_file(
        "facenet_pytorch",
        _FILES,
        install="pip install facenet-pytorch",
        distribution="facenet-pytorch",
    )
