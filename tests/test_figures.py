"""The figures that the pages quote are those of the committed runs."""

import pathlib
import re

import programs
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
if not (ROOT / "docs").exists():
    pytest.skip("the pages are only in the checkout", allow_module_level=True)

quote = programs.load(ROOT / "benchmarks/quote.py")


@pytest.mark.parametrize("page", quote.PAGES)
def test_pages_quote_the_committed_runs(page):
    text = (ROOT / page).read_text()
    names = re.findall(r"<!-- figures: (\w+) -->", text)
    assert names
    assert set(names) <= set(quote.TABLES)
    assert text.count("<!-- end of figures -->") == len(names)
    assert quote.rewrite(text, quote.load()) == text


def test_runs_are_of_their_levels():
    for level, run in quote.load().items():
        assert run["machine"]["SIMD level of tf_roialign"] == level
        assert {"tf_roialign", "tensorflow-cpu", "torchvision"} <= set(run["versions"])


def test_a_figure_that_was_changed_is_found():
    text = (ROOT / "README.md").read_text()
    changed = re.sub(r"(figures: \w+ -->\n.*?)\d+", r"\g<1>9999", text, count=1, flags=re.DOTALL)
    assert changed != text
    assert quote.rewrite(changed, quote.load()) == text
