"""README and the pages of the documentation, as a reader would run them."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCKS = {page.name: re.findall(r"```python\n(.*?)```", page.read_text(), re.S) for page in PAGES}
GALLERY = sorted((ROOT / "examples" / "gallery").glob("plot_*.py"))


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page, blocks in BLOCKS.items() if blocks])
def test_examples_run_one_after_the_other(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # an example may write a file
    names = {"__name__": page}
    for block in BLOCKS[page]:
        exec(compile(block, page, "exec"), names)


@pytest.mark.parametrize("script", GALLERY, ids=lambda path: path.stem)
def test_gallery_scripts_have_a_title_and_import_what_there_is(script):
    # `make docs` runs them.
    tree = ast.parse(script.read_text())
    title, underline, *_ = ast.get_docstring(tree).splitlines()
    assert underline == "=" * len(title)
    imports = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    exec(compile(ast.Module(imports, []), script, "exec"), {})


def test_every_gallery_script_has_its_place_in_the_order():
    (order,) = (
        ast.literal_eval(node.value)
        for node in ast.parse((ROOT / "docs" / "conf.py").read_text()).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "gallery_order"
    )
    assert sorted(order) == [script.name for script in GALLERY]
