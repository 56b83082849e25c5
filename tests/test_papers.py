"""A small, seeded piece of each table of the papers; the benchmarks run the whole."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.mark.slow
@pytest.mark.parametrize(("method", "paper"), [("lin", 0.898), ("cnn", 0.928)])
def test_table_1_of_paper_1_on_one_subset_of_1000_images(tmp_path, mnist_home, method, paper):
    path = tmp_path / "table1.json"
    command = [
        *(sys.executable, str(BENCHMARKS / "table1_mnist.py"), "--data-home", str(mnist_home)),
        *("--sizes", "1k", "--methods", method, "--subsets", "1", "--output", str(path)),
    ]
    subprocess.run(command, check=True, capture_output=True)
    (run,) = json.loads(path.read_text())["runs"]
    assert run["accuracy"] >= paper
    assert 25 <= run["n_nonzero"] <= 35  # as the paper says
    written = path.stat().st_mtime_ns
    subprocess.run(command, check=True, capture_output=True)  # finds nothing left to do
    assert path.stat().st_mtime_ns == written
