"""Sphinx configuration: Markdown through MyST, the furo theme, the catalogue from the specs."""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "losskit"
author = "The losskit developers"
copyright = "The losskit developers"
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.intersphinx",
    "sphinx_argparse_cli",
    "catalogue",
    "docstrings",
    "examples",
    "mathml",
    "training_config",
]
# A name in single backticks is a reference to wherever it is documented: docs/design.md.
default_role = "any"
napoleon_numpy_docstring = False  # it would read ours again
autodoc_member_order = "groupwise"
# Not with every loss what is said once, at the base class.
autodoc_default_options = {"members": True, "exclude-members": "loss_name, extra_repr"}
# Never fetched, so that a build with a network and one without come to the same.
intersphinx_mapping = {
    "python": ("https://docs.python.org/3/", "inventories/python.txt"),
    "torch": ("https://docs.pytorch.org/docs/stable/", "inventories/torch.txt"),
}
html_math_renderer = "mathml"
# No colon_fence: a block of code between colons is one that no test sees.
myst_enable_extensions = ["dollarmath", "deflist"]
myst_heading_anchors = 3
exclude_patterns = ["_build", "_extra", "README.md"]
html_theme = "furo"
html_title = "losskit"
nitpicky = True
nitpick_ignore_regex = [
    # Shapes of tensors; jaxtyping's site is not made by Sphinx, so it has no inventory.
    ("py:class", r"jaxtyping\.(Float|Shaped)"),
    # NumPy's, behind TYPE_CHECKING, where Sphinx cannot follow the name.
    ("py:class", r"NDArray"),
    # What pytest hands out, by the modules that it keeps to itself.
    ("py:class", r"_pytest\..+"),
    # Types in public signatures that users neither make nor read.
    ("py:class", r"losskit\.backbones\.(trunk\.Mode|tensor_cache\.TrunkUser|compiler\._F)"),
    ("py:class", r"losskit\.discovery\.registry\._T"),
    ("py:class", r"losskit\.objectives\.term_gradients\.Terms"),
    ("py:class", r"losskit\.testing\.plugin_case\.Probe"),
]
html_static_path = ["_static"]
html_css_files = ["atlas.css"]
# The atlas's figures are in atlas.json and drawn into the catalogue. With its photographs, which never go
# into the repository, it is at atlas/index.html of the site where this was run before the build:
# .ci/atlas docs/_extra/atlas > docs/atlas.json
# (.github/workflows/docs.yml does so for the published site; .ci/run draws two losses elsewhere.)
_extra = Path(os.environ.get("LOSSKIT_DOCS_EXTRA", Path(__file__).parent / "_extra"))
html_extra_path = [str(_extra)] if _extra.exists() else []
