"""The site: `make docs` writes it to build/docs."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent / "site"))

from tf_roialign.version import __version__  # noqa: E402

project = "tf_roialign"
copyright = "The tf_roialign authors"
version = release = __version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "breaks",  # this and the others are in site/
    "docstrings",
    "pages_elsewhere",
    "wide_images",
]
source_suffix = {".md": "myst-nb", ".ipynb": "myst-nb"}
nb_execution_mode = "off"  # the notebook is committed with what it showed; a test runs it
exclude_patterns = ["site"]
myst_heading_anchors = 4

# Signatures as one writes calls; what an argument may be is said in its text.
autodoc_typehints = "none"
autodoc_member_order = "bysource"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_custom_sections = [("Call arguments", "params_style")]
# In docstrings, `this` is code, and a link where there is something of that name.
default_role = "py:obj"
nitpicky = True
nitpick_ignore_regex = [
    ("py:obj", r"(?!tf_roialign[\w.]*\.\w+$).*"),  # code, and names of TensorFlow and Keras
    ("py:(class|exc)", r"(?!tf_roialign\b).*"),  # the types in "Raises", and base classes
]

html_theme = "pydata_sphinx_theme"
html_title = "tf_roialign"
html_static_path = ["site/static"]
html_css_files = ["style.css"]
html_copy_source = False
html_show_sourcelink = False
html_theme_options = {
    "logo": {"text": "tf_roialign"},
    "header_links_before_dropdown": 6,
    "navigation_with_keys": False,
    "show_toc_level": 2,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
}
# The prompt of a console is not copied.
copybutton_prompt_text = "$ "
