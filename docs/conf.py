"""Sphinx configuration: Markdown through MyST, the furo theme, the catalogue from the specs."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "losskit"
author = "The losskit developers"
copyright = "The losskit developers"
extensions = ["myst_parser", "catalogue", "mathml"]
html_math_renderer = "mathml"
myst_enable_extensions = ["dollarmath", "colon_fence", "deflist"]
myst_heading_anchors = 3
exclude_patterns = ["_build", "README.md"]
html_theme = "furo"
html_title = "losskit"
nitpicky = True
# `losskit atlas --out docs/_atlas` before the build puts the atlas at /atlas of the site; it shows
# photographs, which never go into the repository.
html_extra_path = ["_atlas"] if (Path(__file__).parent / "_atlas").exists() else []
