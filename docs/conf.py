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
# The docstrings give the types, in words that a reader of scikit-learn knows.
autodoc_typehints = "none"
# The template of a class lists the members; see skip_foreign_members below.
numpydoc_show_class_members = False
templates_path = ["_templates"]

html_theme = "pydata_sphinx_theme"
html_title = f"skddl {version}"
html_theme_options = {"show_toc_level": 2, "navigation_with_keys": False}
html_show_sourcelink = False


def skip_foreign_members(app, what, name, obj, skip, options):
    """Leave out the methods that scikit-learn and torch put into a class: they document them."""
    module = getattr(obj, "__module__", None) or "skddl"
    return skip or not module.startswith("skddl")


def setup(app):
    """Connect the function above."""
    app.connect("autodoc-skip-member", skip_foreign_members)
