"""A Sphinx extension: pictures that were drawn for a wide screen get the class "wide".

`static/style.css` keeps them legible on a phone.
"""

import pathlib

import imagesize
from docutils import nodes
from sphinx.transforms.post_transforms import SphinxPostTransform

# Figures for phones too, as those of docs/images/draw.py, have less.
_WIDE = 1000


class WideImages(SphinxPostTransform):
    """Looks at the files that the pages show."""

    default_priority = 900  # when those of the notebook have been written

    def run(self, **kwargs):
        """What Sphinx calls for each page."""
        for image in self.document.findall(nodes.image):
            path = pathlib.Path(self.app.srcdir, image["uri"])
            if path.is_file() and imagesize.get(path)[0] >= _WIDE:
                image["classes"].append("wide")


def setup(app):
    """What Sphinx calls."""
    app.add_post_transform(WideImages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
