"""The documentation site: `make docs`, or ``sphinx-build -W --keep-going -n -c docs . docs/_build/html``.

The source folder is the project's root, so that links between pages, the README and files outside of docs/ are the same
on the site and on a code host. Nothing is fetched while building: no inventories of other projects, no fonts.
"""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(place) for place in (HERE, HERE.parent, HERE.parent / "envs", HERE.parent / "agents")]

from nas_gym import __version__  # noqa: E402  after the path

project = "nas-gym"
author = "the nas-gym contributors"
copyright = "the nas-gym contributors, MIT licence"
version = release = __version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton", "site_extension"]
root_doc = "docs/index"
include_patterns = ["docs/**", "README.md", "CONTRIBUTING.md", "HISTORY.md", "leaderboard/README.md"]
exclude_patterns = ["docs/_build", "docs/_theme", "**/.ipynb_checkpoints"]

# Markdown, and notebooks, which are kept without outputs and run by the build.
myst_heading_anchors = 4
nb_execution_mode = "cache"
nb_execution_cache_path = str(HERE / "_build" / "notebooks")
nb_execution_timeout = 600
nb_execution_in_temp = True  # what notebooks write stays nowhere
nb_execution_raise_on_error = True
nb_execution_show_tb = True
nb_merge_streams = True

# API pages from docstrings. A single backtick is a name: a link where the site has it, code elsewhere.
default_role = "py:obj"
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
autodoc_class_signature = "mixed"
napoleon_numpy_docstring = False
napoleon_use_ivar = True
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88
nitpicky = True

html_theme = "furo"
html_title = f"nas-gym {version}"
html_static_path = ["_theme"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {"navigation_with_keys": True}
copybutton_exclude = ".linenos, .gp, .go"
pygments_style = "friendly"
pygments_dark_style = "monokai"
