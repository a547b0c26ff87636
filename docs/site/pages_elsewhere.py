"""A Sphinx extension: pages that stand elsewhere in the checkout, and links that leave docs/.

On the repository's pages a link from docs/ to `../CONTRIBUTING.md` is right. The site has a page of
that file; of other files of the checkout it has a copy, which a link then downloads.
"""

import os
import pathlib
import re

DOCS = pathlib.Path(__file__).resolve().parents[1]
ROOT = DOCS.parent
# The page of the site, and the file that it shows.
PAGES = {
    "benchmarks": "benchmarks/README.md",
    "changelog": "CHANGELOG.md",
    "contributing": "CONTRIBUTING.md",
    "detector": "examples/detector/README.md",
    "security": "SECURITY.md",
}
_PAGE_OF = {ROOT / file: DOCS / f"{page}.md" for page, file in PAGES.items()}
_FENCED = re.compile(r"(^ *```.*?^ *```$)", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(\]\()([^)\s#:]+)((?:#[^)\s]*)?\))")


def rewrite_links(text, origin, page):
    """The text of the file `origin` as the site's file `page` has it."""

    def replace(found):
        target = pathlib.Path(os.path.normpath(origin.parent / found[2]))
        if not target.exists():
            return found[0]  # for the parser to complain about
        target = _PAGE_OF.get(target, target)
        return found[1] + os.path.relpath(target, page.parent) + found[3]

    parts = _FENCED.split(text)
    parts[::2] = [_LINK.sub(replace, part) for part in parts[::2]]
    return "".join(parts)


def read(app, name, source):
    """Takes the place of a page's text: see `source-read` of Sphinx."""
    page = origin = DOCS / f"{name}.md"
    if name in PAGES:
        origin = ROOT / PAGES[name]
        app.env.note_dependency(str(origin))
        source[0] = origin.read_text()
    source[0] = rewrite_links(source[0], origin, page)


def setup(app):
    """What Sphinx calls."""
    app.connect("source-read", read)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
