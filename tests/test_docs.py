"""README, the pages of the documentation and the notebooks, as a reader would run them."""

import ast
import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCKS = {page.name: re.findall(r"```python\n(.*?)```", page.read_text(), re.S) for page in PAGES}
GALLERY = sorted((ROOT / "examples" / "gallery").glob("plot_*.py"))
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page, blocks in BLOCKS.items() if blocks])
def test_examples_run_one_after_the_other(page, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)  # an example may write a file
    names = {"__name__": page}
    for block in BLOCKS[page]:
        exec(compile(block, page, "exec"), names)
    # What they print is what they say: `print(...)  # True`.
    assert "False" not in capsys.readouterr().out.split()


@pytest.mark.parametrize("script", GALLERY, ids=lambda path: path.stem)
def test_gallery_scripts_have_a_title_and_import_what_there_is(script):
    # `make docs` runs them.
    tree = ast.parse(script.read_text())
    title, underline, *_ = ast.get_docstring(tree).splitlines()
    assert underline == "=" * len(title)
    for package in ("matplotlib", "pandas"):
        pytest.importorskip(package)
    imports = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    exec(compile(ast.Module(imports, []), script, "exec"), {})


def test_every_gallery_script_has_its_place_in_the_order():
    (order,) = (
        ast.literal_eval(node.value)
        for node in ast.parse((ROOT / "docs" / "conf.py").read_text()).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "gallery_order"
    )
    assert sorted(order) == [script.name for script in GALLERY]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_have_been_run_in_order_and_are_clean(path):
    # `make notebooks` runs them.
    cells = json.loads(path.read_text())["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell["outputs"]]
    assert outputs
    assert not [output for output in outputs if output["output_type"] == "error"]
    assert not [output for output in outputs if output.get("name") == "stderr"]
    for output in outputs:  # pictures are base64, in which a slash is a digit
        output.get("data", {}).pop("image/png", None)
    assert not re.findall(r"/(?:home|root|tmp|work)\b", json.dumps(cells))
