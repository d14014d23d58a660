"""How Sphinx builds this documentation: ``sphinx-build -W -n -b html docs docs/_build/html``."""

import rolecall

project = "Rolecall"
release = version = rolecall.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc"]
exclude_patterns = ["_build"]
myst_heading_anchors = 3

html_theme = "furo"
html_title = f"Rolecall {release}"

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
# What stands in signatures and is not ours to document: Python itself, frameworks, and the names of type variables.
nitpick_ignore_regex = [
    (r"py:.*", r"(collections|datetime|enum|fastapi|flask|os|starlette|typing|wsgiref|_typeshed)\..*"),
    (r"py:class", r"rolecall.*\.(_Kit|_Function|_Error|_Self|Result|Guarded|Subtree|View)"),
    (r"py:func", r"rolecall\.driver\.drive"),
    (r"py:class", r"rolecall\.(connector\.transport\.Transport|http\.routing\.Route)"),
]


def setup(app):
    app.connect("missing-reference", find_by_short_name)


def find_by_short_name(app, env, node, content):
    """Docstrings name our classes as the code does, without their module."""
    if node.get("refdomain") != "py" or node.get("refspecific"):
        return None
    node["refspecific"] = True
    python = env.get_domain("py")
    return python.resolve_xref(env, node["refdoc"], app.builder, node["reftype"], node["reftarget"], node, content)
