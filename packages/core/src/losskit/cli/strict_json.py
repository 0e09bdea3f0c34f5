"""Plain data as JSON that every parser takes: JSON has no NaN and no infinities."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any


def strict_json(content: Mapping[str, Any]) -> str:
    """One JSON object; a float that is NaN or infinite is ``null``, and named under ``not_finite``.

    Args:
        content: mappings, sequences, numbers; all else becomes its ``str``.

    Returns:
        The text, indented. ``not_finite`` maps the place of each such float (``images[3].PSNRLoss``)
        to ``"nan"``, ``"inf"`` or ``"-inf"``; it is there only if there are any.

    Example:
        >>> print(strict_json({"psnr": [30.0, float("inf")]}))
        {
          "psnr": [
            30.0,
            null
          ],
          "not_finite": {
            "psnr[1]": "inf"
          }
        }
    """
    words: dict[str, str] = {}
    plain = {str(key): _finite(value, str(key), words) for key, value in content.items()}
    if words:
        plain["not_finite"] = words
    return json.dumps(plain, indent=2, default=str, allow_nan=False)


def _finite(value: Any, path: str, words: dict[str, str]) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        words[path] = str(float(value))
        return None
    if isinstance(value, Mapping):
        return {str(k): _finite(item, f"{path}.{k}", words) for k, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item, f"{path}[{index}]", words) for index, item in enumerate(value)]
    return value
