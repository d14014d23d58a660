"""How Sphinx builds this documentation; the README has the command."""

import re

from django.conf import settings
from sphinx import addnodes

import rolecall

settings.configure()  # Django REST framework reads them as it is imported

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
    (
        r"py:.*",
        r"(aiohttp|asgiref|channels|collections|datetime|django|enum|fastapi|flask|os|re|rest_framework|socketio|starlette"
        r"|tornado|typing|wsgiref|_typeshed)\..*",
    ),
    (r"py:class", r"(contextlib|logging|opentelemetry|prometheus_client)\..*|AbstractContextManager|timedelta"),
    (r"py:class", r"Handler|rolecall.*\.(Connection|Function|Result|Guarded|Subtree|View|Chunk|Target|Kept)"),
    (r"py:class", r"(rolecall\.http\.guards\.guard\.)?(Unsaid|SessionParam|SessionResolver|Kit)|OnRefusal"),
    (r"py:class", r"timedelta|KeyState|HttpRequest|RestRequest"),
    (r"py:class", r"(Role|Capability|MediaMode|ArchiveMode)Name|Plugin|rolecall\.session_ids\.SessionNames"),
    (r"py:class", r"(?:rolecall_django\.patterns\.)?Patterns"),
    (r"py:class", r"MaybeAwaitable|SessionState|Kind|Row|Level"),
    (r"py:func", r"rolecall\.driver\.drive"),
    (r"py:class", r"rolecall\.(media\.opentok\.transport\.Transport|http\.api\.routing\.Route)"),
    (r"py:class", r"rolecall\.(opentok\.session\._MintsTokens|hookspecs\.Kit)"),
]


#: Made by the kit alone, so how is of no interest.
NOT_FOR_APPS_TO_MAKE = {"rolecall.AsyncRolecall", "rolecall.connector.AsyncRemoteService"}
#: What stands in signatures for something that a reader knows by another name.
PLAIN = {
    r"mappingproxy\(\{\}\)": "{}",
    r"frozenset\(\{\}\)": "()",
    r"Web\(origins=frozenset\(\)[^)]*\)": "Web()",
    r"\('GET', '', \{\}, <rolecall\.request\.PlainHeaders object>[^)]*\)": "Request('GET', '')",
    r"<function system_clock[^>]*>": "time.time",
    r"\bSessionParam\b|str \| (rolecall\.http\.guards\.guard\.)?Unsaid \| None": "str | None",
    r"\bUNSAID\b": "…",
    r"\bSessionResolver\b": "Callable",
    r"\bOnRefusal\b": "Callable",
    r"\b(rolecall\.(http\.guards\.guard|hookspecs)\.)?_?Kit\b": "Rolecall",
    r"\*\*settings: \S*Unpack\[\S*CommonSettings\]": "**settings",
    r"\b_Error\b": "RolecallError",
    r"\b_Function\b": "Function",
}


def setup(app):
    app.connect("missing-reference", find_by_short_name)
    app.connect("autodoc-process-signature", without_internals)
    app.connect("object-description-transform", without_internal_values)


def without_internals(_app, _what, name, _object, _options, signature, returns):
    """A signature as the reader of the reference needs it."""
    if signature is None:
        return None
    if name in NOT_FOR_APPS_TO_MAKE or signature == "(*args, **kwargs)":  # the latter is every protocol's
        signature = ""
    package = name.partition(".")[0]
    # Each adapter has a class of this name.
    own = {r"(?<![\w.])Guard\b": f"{package}.guards.Guard"} if package.startswith("rolecall_") else {}
    for internal, plain in {**PLAIN, **own}.items():
        signature, returns = re.sub(internal, plain, signature), re.sub(internal, plain, returns or "")
    return signature, returns


def without_internal_values(_app, _domain, kind, content):
    """An attribute as the reader of the reference needs it: without a value that no app would write."""
    if kind not in ("attribute", "data"):
        return
    for part in list(content.parent.findall(addnodes.desc_annotation)):
        if re.match(r"\s*=.*(mappingproxy|frozenset\(\{|<\w+ )", part.astext(), re.DOTALL):
            part.parent.remove(part)


def find_by_short_name(app, env, node, content):
    """Docstrings name our classes as the code does, without their module."""
    if node.get("refdomain") != "py" or node.get("refspecific"):
        return None
    node["refspecific"] = True
    python = env.get_domain("py")
    return python.resolve_xref(env, node["refdoc"], app.builder, node["reftype"], node["reftarget"], node, content)
