"""A Sphinx extension: what autodoc and napoleon do not see in this package's docstrings."""

import inspect
import re


def sections(app, what, name, obj, options, lines):
    """Keeps a colon in "Returns" from being taken for the end of a type; links other pages."""
    lines[:] = [re.sub(r"`docs/(\w+)\.md`", r":doc:`/\1`", line) for line in lines]
    for number, line in enumerate(lines[:-1]):
        if line.strip() == "Returns:":
            text = lines[number + 1]
            indent = len(text) - len(text.lstrip())
            lines[number + 1] = text[:indent] + ": " + text[indent:]  # an empty type


def signature(app, what, name, obj, options, arguments, returns):
    """Of a class the arguments of its constructor, in the place of Keras' `__new__`."""
    if what != "class" or issubclass(obj, tuple):
        return None
    parameters = list(inspect.signature(obj.__init__).parameters.values())[1:]
    bare = [each.replace(annotation=inspect.Parameter.empty) for each in parameters]
    return str(inspect.Signature(bare)), None


def setup(app):
    """What Sphinx calls."""
    app.connect("autodoc-process-docstring", sections, priority=100)  # before napoleon
    app.connect("autodoc-process-signature", signature)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
