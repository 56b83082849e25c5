"""Configuration of sphinx."""

import skddl

project = "skddl"
author = "the skddl developers"
copyright = "2026, the skddl developers"
version = release = skddl.__version__

# No intersphinx: building the pages needs no network.
extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx.ext.viewcode",
]
myst_enable_extensions = ["dollarmath"]
# Links such as `decisions.md#data-sets` point to headings.
myst_heading_anchors = 3

autosummary_generate = True
# The template of a class lists its members, without those of scikit-learn and torch.
numpydoc_show_class_members = False
templates_path = ["_templates"]

html_theme = "pydata_sphinx_theme"
html_title = f"skddl {version}"
html_theme_options = {"show_toc_level": 2, "navigation_with_keys": False}
html_show_sourcelink = False
