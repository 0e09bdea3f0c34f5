"""Sphinx configuration: Markdown through MyST, the furo theme, the catalogue from the specs."""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "losskit"
author = "The losskit developers"
copyright = "The losskit developers"
extensions = ["myst_parser", "catalogue", "examples", "mathml", "training_config"]
html_math_renderer = "mathml"
# No colon_fence: a block of code between colons is one that no test sees.
myst_enable_extensions = ["dollarmath", "deflist"]
myst_heading_anchors = 3
exclude_patterns = ["_build", "_extra", "README.md"]
html_theme = "furo"
html_title = "losskit"
nitpicky = True
html_static_path = ["_static"]
html_css_files = ["atlas.css"]
# The atlas's figures are in atlas.json and drawn into the catalogue. With its photographs, which never go
# into the repository, it is at atlas/index.html of the site where this was run before the build:
# .ci/atlas docs/_extra/atlas > docs/atlas.json
# (.github/workflows/docs.yml does so for the published site; .ci/run draws two losses elsewhere.)
_extra = Path(os.environ.get("LOSSKIT_DOCS_EXTRA", Path(__file__).parent / "_extra"))
html_extra_path = [str(_extra)] if _extra.exists() else []
