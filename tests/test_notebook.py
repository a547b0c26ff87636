"""docs/notebook.ipynb runs, and what it prints is what it shows."""

import base64
import os
import pathlib
import re

import programs
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
# `make test-wheel` puts it beside the tests' folder: it has to run from the wheel alone.
PLACES = [ROOT / "docs" / "notebook.ipynb", ROOT / "notebook.ipynb"]
NOTEBOOK = next(filter(pathlib.Path.exists, PLACES), None)
if NOTEBOOK is None:
    pytest.skip("the notebook is only in the checkout", allow_module_level=True)

nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed")
nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed")
pytest.importorskip("ipykernel", reason="ipykernel is not installed")
pytest.importorskip("skimage", reason="scikit-image is not installed")


@pytest.fixture(scope="module")
def notebook():
    return nbformat.read(NOTEBOOK, as_version=4)


@pytest.fixture(scope="module")
def executed(notebook, tmp_path_factory):
    """A copy without outputs, executed in a folder where nothing is."""
    copy = nbformat.from_dict(notebook)
    for cell in code_cells(copy):
        cell.outputs, cell.execution_count = [], None
    folder = tmp_path_factory.mktemp("notebook")
    client = nbclient.NotebookClient(
        copy, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    )
    return client.execute(env={**os.environ, **programs.environment()})


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def texts(notebook):
    """What each cell prints."""
    return [
        "".join(output.text for output in cell.outputs if output.get("name") == "stdout")
        for cell in code_cells(notebook)
    ]


def pictures(notebook):
    """The PNGs of each cell."""
    shown = [[output.get("data", {}) for output in cell.outputs] for cell in code_cells(notebook)]
    return [
        [base64.b64decode(data["image/png"]) for data in of_cell if "image/png" in data]
        for of_cell in shown
    ]


def test_is_a_notebook_of_modest_size(notebook):
    nbformat.validate(notebook)
    assert NOTEBOOK.stat().st_size < 500_000


def test_was_executed_from_top_to_bottom(notebook):
    counts = [cell.execution_count for cell in code_cells(notebook)]
    assert counts == list(range(1, len(counts) + 1))


def test_prints_what_it_shows(notebook, executed):
    """It runs to its end; nothing that it prints depends on the machine."""
    assert texts(executed) == texts(notebook)
    assert "".join(texts(executed)).count("True") == 3


def test_shows_its_picture(notebook, executed):
    of_cells = pictures(executed)
    assert sum(map(len, of_cells)) >= 1
    assert list(map(len, of_cells)) == list(map(len, pictures(notebook)))
    assert all(png.startswith(b"\x89PNG") for pngs in of_cells for png in pngs)


def test_says_nothing_of_its_machine(notebook):
    """No paths, no times, no warnings."""
    text = NOTEBOOK.read_text()
    assert not re.search(r"/(home|root|tmp|work|usr)/", text)
    assert "iopub" not in text
    names = {o.get("name") for cell in code_cells(notebook) for o in cell.outputs}
    assert "stderr" not in names


def test_pages_that_it_names_are_there(notebook):
    if NOTEBOOK.parent.name != "docs":
        pytest.skip("the pages are only in the checkout")
    text = "".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    pages = re.findall(r"\]\((\w+\.md)\)", text)
    assert len(pages) == 5
    assert all((NOTEBOOK.parent / page).exists() for page in pages)
