"""Sphinx's settings. `python docs/build.py` builds the pages; nothing in them comes from another server."""

from importlib.metadata import version as installed

project = "scaledproc"
author = "The scaledproc developers"
copyright = author  # noqa: A001 - as Sphinx calls it
version = release = installed("scaledproc")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build", "reference/_*.md"]
nitpicky = False  # types of other libraries, which have no pages here

# Markdown
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
suppress_warnings = ["myst.xref_ambiguous"]

highlight_language = "text"  # of a block without a language

# Docstrings: numpydoc, with single backticks for code.
default_role = "literal"
napoleon_google_docstring = False
napoleon_use_rtype = False
autodoc_member_order = "bysource"
autodoc_typehints = "none"
python_maximum_signature_line_length = 90

# Pages
html_theme = "pydata_sphinx_theme"
html_title = "scaledproc"
html_static_path = ["_static"]
html_css_files = ["scaledproc.css"]
html_show_sourcelink = False
html_copy_source = False
html_sidebars: dict[str, list[str]] = {"index": [], "getting-started": [], "concepts": [], "benchmarks": []}
html_theme_options = {
    "navbar_align": "left",
    "navbar_end": ["theme-switcher"],
    "header_links_before_dropdown": 8,
    "show_prev_next": True,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "pygments_light_style": "default",
    "pygments_dark_style": "github-dark",
}
