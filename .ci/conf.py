"""The documentation site: `sphinx-build -W -c .ci notebooks dist/site`."""

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
