"""The documentation site: `sphinx-build -W -c .ci notebooks dist/site`."""

import re

project = "neuralmutator"
author = "the authors of neuralmutator"
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]

html_theme = "furo"
html_title = "neuralmutator"

nb_execution_mode = "off"  # notebooks are committed with their outputs
myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence"]

default_role = "code"  # `x` in a docstring is code
autodoc_default_options = {"members": True, "imported-members": True}
autodoc_member_order = "groupwise"
autodoc_typehints = "signature"
napoleon_google_docstring = True
napoleon_use_rtype = False
suppress_warnings = ["myst.xref_missing"]  # of the README's links into the repository; a test checks all links


def escape_bars(app, what, name, obj, options, lines):
    """Norms are written |w| in docstrings; outside of code, that would be a substitution."""
    for i, line in enumerate(lines):
        parts = re.split(r"(`+[^`]*`+)", line)
        lines[i] = "".join(part if part.startswith("`") else part.replace("|", r"\|") for part in parts)


def setup(app):
    """Sphinx calls this."""
    app.connect("autodoc-process-docstring", escape_bars)
