"""A Sphinx extension: where names in code may be broken, on a phone or in a table.

`static/style.css` says where they are broken anywhere if need be; a `<wbr>` is what browsers
prefer, and it is not copied with the text.
"""

import re

# Words that are long on a phone: short ones are better whole.
_CODE = re.compile(r'(<span class="pre">)([^<]{16,})(</span>)')
# Behind a sign that joins words, but not inside of a character reference; within CamelCase.
_JOINT = re.compile(
    r"(&\w+;|&#\w+;)|(?<=[\w)\]])((?:::|[_./=,(]))(?=\w)|(?<=[a-zA-Z])(?=[A-Z][a-z])"
)
_PARENTHESIS = '<span class="sig-paren">(</span>'  # of a signature


def add_breaks(body):
    """The HTML of a page, with places to break its code."""

    def joint(found):
        return found[1] or (found[2] or "") + "<wbr>"

    body = _CODE.sub(lambda code: code[1] + _JOINT.sub(joint, code[2]) + code[3], body)
    return body.replace(_PARENTHESIS, _PARENTHESIS + "<wbr>")


def page(app, name, template, context, doctree):
    """Takes the place of a page's HTML: see `html-page-context` of Sphinx."""
    if "body" in context:
        context["body"] = add_breaks(context["body"])


def setup(app):
    """What Sphinx calls."""
    app.connect("html-page-context", page)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
