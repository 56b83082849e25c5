"""Configuration of sphinx."""

import os

# The gallery runs on one thread, as `make demo` does, and so do processes that it starts. It is set
# here, before torch and the linear algebra of numpy read it, for every way to call sphinx.
os.environ["OMP_NUM_THREADS"] = "1"

from sphinx_gallery.sorting import ExplicitOrder

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
    "sphinx_gallery.gen_gallery",
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

# In the order in which they are read.
gallery_order = [
    "plot_digits.py",
    "plot_own_csv.py",
    "plot_own_images.py",
    "plot_lambda1.py",
    "plot_sparse_encode.py",
    "plot_online_dictionary.py",
    "plot_regression.py",
    "plot_semi_supervised.py",
    "plot_own_features.py",
    "plot_deep_dictionary.py",
    "plot_three_faces.py",
    "plot_detrame_digits.py",
]
sphinx_gallery_conf = {
    "examples_dirs": "../examples/gallery",
    "gallery_dirs": "auto_examples",
    "within_subsection_order": ExplicitOrder(gallery_order),
    "abort_on_example_error": True,
    # Each script starts with matplotlib as it was, and draws for screens of either density.
    "reset_modules": ("matplotlib",),
    "image_srcset": ["2x"],
    # Frames and estimators are shown; `<Display object at 0x...>` says nothing.
    "capture_repr": ("_repr_html_",),
    # The examples that use a class stand on its page: see the templates of autosummary.
    "doc_module": ("skddl",),
    "backreferences_dir": "generated/backreferences",
    "remove_config_comments": True,
    "show_signature": False,
    "write_computation_times": False,
}

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
