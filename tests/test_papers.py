"""A small, seeded piece of each table of the papers; the benchmarks run the whole."""

import importlib
import json
import subprocess
import sys
from _thread import interrupt_main
from pathlib import Path

import numpy as np
import pytest

from skddl.datasets import load_mnist

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "least"),
    [
        ("lin", 0.898),  # the paper's numbers, but for what we recommend
        ("cnn", 0.928),
        ("cnn-unlabelled", 0.935),
        ("full-cnn", 0.917),
        ("recommended", 0.970),
    ],
)
def test_table_1_of_paper_1_on_subsets_of_1000_images(tmp_path, mnist_home, method, least):
    """The mean of three: accuracies of single subsets vary by 0.004 around it."""
    path = tmp_path / "table1.json"
    command = [
        *(sys.executable, str(BENCHMARKS / "table1_mnist.py"), "--data-home", str(mnist_home)),
        *("--sizes", "1k", "--systems", method, "--subsets", "3", "--output", str(path)),
    ]
    subprocess.run(command, check=True, capture_output=True)
    runs = json.loads(path.read_text())["runs"]
    assert len(runs) == 3
    assert np.mean([run["accuracy"] for run in runs]) >= least
    if method in ("lin", "cnn"):
        assert all(25 <= run["n_nonzero"] <= 35 for run in runs)  # as the paper says
    written = path.stat().st_mtime_ns
    subprocess.run(command, check=True, capture_output=True)  # finds nothing left to do
    assert path.stat().st_mtime_ns == written


@pytest.fixture
def cifar_home(tmp_path):
    """Files of the format of CIFAR-10 that hold 60 images for training and 20 for testing."""
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name, n in [(f"data_batch_{i}", 12) for i in range(1, 6)] + [("test_batch", 20)]:
        labels, pixels = np.arange(n) % 10, rng.integers(256, size=(n, 3072))
        np.column_stack([labels, pixels]).astype(np.uint8).tofile(folder / f"{name}.bin")
    return tmp_path


@pytest.fixture
def run_script(monkeypatch, capsys):
    """Run a benchmark in this process, and return what it printed."""
    monkeypatch.syspath_prepend(BENCHMARKS)

    def run(name, *arguments):
        monkeypatch.setattr(sys, "argv", [f"{name}.py", *map(str, arguments)])
        importlib.import_module(name).main()
        return capsys.readouterr().out

    return run


def test_a_cell_of_table_1_of_paper_2_on_a_few_images(tmp_path, cifar_home, run_script):
    path = tmp_path / "table1.json"
    arguments = [
        *("--networks", "plain-3", "resnet-8", "--seeds", 3, "--epochs", 2, "--device", "cpu"),
        *("--batch-norm", "yes", "no", "--data-home", cifar_home, "--output", path),
    ]
    printed = run_script("table1_cifar", *arguments)
    runs = json.loads(path.read_text())["runs"]
    found = {(r["network"], r["activation"], r["batch_norm"]): r["n_parameters"] for r in runs}
    assert len(runs) == len(found) == 8
    assert found["plain-3", "relu", False] == 170_698
    assert found["plain-3", "q-metric", False] == 585_994
    assert all(len(r["loss"]) == 2 and r["seed"] == 3 and not r["diverged"] for r in runs)
    # What was run stands beside the paper's; all else says that it was not run.
    table = {
        line.split("|")[1].strip(): line.split("|")[2:-1]
        for line in printed.splitlines()
        if line.startswith("| cifar")
    }
    assert len(table) == 16
    assert table["cifar10 plain-3"][0].strip() == "35.14 ± 4.94"
    assert table["cifar10 plain-3"][3].strip() == "88.51 ± 0.17 (5)"
    for network, cells in table.items():
        was_run = network in ("cifar10 plain-3", "cifar10 resnet-8")
        for position in (1, 2, 4, 5):
            assert ("not run" in cells[position]) != was_run
    assert "A trial" in printed
    written = path.stat().st_mtime_ns
    run_script("table1_cifar", *arguments)  # finds nothing left to do
    assert path.stat().st_mtime_ns == written
    assert not list(tmp_path.glob("*.checkpoint"))


class NoTime:
    """A timer that goes off as soon as it is started."""

    def __init__(self, seconds, function):
        assert 0 < seconds <= 3600
        assert function is interrupt_main

    def start(self):
        raise KeyboardInterrupt

    def cancel(self):
        pass


@pytest.mark.slow
def test_a_cell_that_was_cut_goes_on_where_it_stopped(
    tmp_path, cifar_home, run_script, monkeypatch
):
    monkeypatch.setattr("skddl.training._checkpoint._SECONDS_BETWEEN", 0.0)
    monkeypatch.syspath_prepend(BENCHMARKS)
    script = importlib.import_module("table1_cifar")
    stop_at = None

    class Stopping(script.DeTraMeClassifier):
        def _make_loss(self):
            compute_loss = super()._make_loss()

            def stop(batch):
                if self._training.iteration == stop_at:
                    raise KeyboardInterrupt
                return compute_loss(batch)

            return stop

    monkeypatch.setattr(script, "DeTraMeClassifier", Stopping)

    def run(name):
        path = tmp_path / f"{name}.json"
        printed = run_script(
            "table1_cifar",
            *("--networks", "plain-3", "--activations", "q-metric", "--epochs", 4),
            *("--data-home", cifar_home, "--output", path, "--device", "cpu", "--minutes", 60),
        )
        return printed, json.loads(path.read_text())["runs"] if path.exists() else []

    _, (expected,) = run("at_once")
    with monkeypatch.context() as patch:
        patch.setattr(script.threading, "Timer", NoTime)
        printed, runs = run("in_pieces")
    assert "stopped before it went on; call again" in printed
    assert not runs
    for stop_at in (1, 3):
        printed, runs = run("in_pieces")
        assert f"stopped after {stop_at} of 4 steps; call again" in printed
        assert not runs
    stop_at = 0  # if it started anew, it would stop there
    _, (result,) = run("in_pieces")
    assert result["loss"] == expected["loss"]
    assert result["accuracy"] == expected["accuracy"]


def test_every_system_of_table_1_of_paper_1_can_be_made(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    systems = importlib.import_module("_mnist_systems").SYSTEMS
    for system in systems.values():
        if system.label.startswith("dictlearn"):
            pytest.importorskip("dictlearn")
        for size in system.sizes:
            assert hasattr(system.make(size, 3, None), "fit")
        for parameter, values in system.choices.items():
            assert system.make.keywords[parameter] in values
            for value in values:
                system.make("1k", 3, None, **{parameter: value})


@pytest.fixture
def small_study(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module("detrame_small")


@pytest.mark.parametrize("best", [0.001, 0.03, 3.0])
@pytest.mark.parametrize("batch_norm", [False, True])
def test_rates_are_tried_until_the_best_is_not_on_the_edge(
    small_study, monkeypatch, best, batch_norm
):
    def fit(cell, rate, seed, train, test, threads):
        tried.append((rate, seed))
        accuracy = 0.1 if rate > best else 0.9 - 0.1 * abs(np.log10(rate / best))
        run = {"rate": rate, "seed": seed, "accuracy": accuracy}
        return run | {"diverged": False, "n_scored": 2000}

    monkeypatch.setattr(small_study, "fit", fit)
    rates = small_study.RATES
    cell = ("MNIST 1K", 3, batch_norm, "twin")
    for start in rates:
        tried = []
        monkeypatch.setitem(small_study.FIRST_RATES, "twin", (start, start))
        runs = small_study.search(cell, [], None, 1)
        assert small_study.best_rate(runs) == best
        assert len(set(tried)) == len(tried) == len(runs)
        position = rates.index(best)
        seeds = small_study.SEARCH_SEEDS[0 if batch_norm else 1]
        for rate in rates[max(0, position - 1) : position + 2]:
            # A rate at which one seed fails is not tried with the next.
            expected = seeds if rate <= best else seeds[:1]
            assert [s for r, s in tried if r == rate] == expected
        # What is known already is not tried again.
        assert small_study.search(cell, runs, None, 1) == []


def test_of_rates_that_are_as_good_the_smallest_is_chosen(small_study):
    scores = {0.01: 0.90, 0.03: 0.925, 0.1: 0.93, 0.3: 0.1}
    runs = [{"rate": rate, "accuracy": score, "n_scored": 2000} for rate, score in scores.items()]
    assert small_study.best_rate(runs) == 0.03  # the standard error of 0.93 is 0.0057


@pytest.mark.parametrize("depth", [3, 6])
@pytest.mark.parametrize("batch_norm", [False, True])
def test_networks_of_equal_size_are_of_equal_size(small_study, depth, batch_norm):
    sizes = {
        column: small_study.make_network(column, depth, 1, batch_norm)[1]
        for column in small_study.COLUMNS
    }
    for column in ("equal parameters", "equal depth and parameters"):
        assert sizes[column] == pytest.approx(sizes["DeTraMe"], rel=0.05)
    assert sizes["twin"] < sizes["DeTraMe"] < sizes["equal depth"]


@pytest.mark.slow
def test_metrics_beat_relus_where_depth_is_scarce_and_not_where_it_is_equal(
    mnist_home, small_study, monkeypatch
):
    """One seed of the first row of the small study: 1,000 images, 3 layers, batch norms."""
    train, test = (
        load_mnist(mnist_home, subset=part, return_X_y=True) for part in ("train", "test")
    )
    monkeypatch.setattr(small_study.torch, "set_num_threads", lambda n: None)
    rates = {"twin": 1.0, "equal parameters": 1.0, "equal depth": 0.1, "DeTraMe": 0.1}
    runs = {
        column: small_study.fit(("MNIST 1K", 3, True, column), rate, 0, train, test, threads=1)
        for column, rate in rates.items()
    }
    accuracy = {column: run["accuracy"] for column, run in runs.items()}
    for column in ("twin", "equal parameters"):
        assert accuracy["DeTraMe"] > accuracy[column] + 0.05
    assert accuracy["equal depth"] > accuracy["DeTraMe"]
    sizes = {column: run["n_parameters"] for column, run in runs.items()}
    assert sizes["equal parameters"] == pytest.approx(sizes["DeTraMe"], rel=0.02)
    assert sizes["twin"] < 0.5 * sizes["DeTraMe"] < 0.5 * sizes["equal depth"]


@pytest.mark.slow
def test_table_2_of_paper_2_on_a_few_images(tmp_path, run_script):
    path = tmp_path / "table2.json"
    printed = run_script(
        "table2",
        *("--images", 10, "--ddl-images", 0, "--repeats", 1, "--device", "cpu"),
        *("--table1", tmp_path / "none.json", "--output", path, "--data-home", tmp_path),
    )
    assert "The small comparison is left out" in printed
    sizes = {r["network"]: r["n_parameters"] for r in json.loads(path.read_text())["networks"]}
    assert round(sizes["DeTraMe-Net 12"] / 1e6, 1) == 2.4
    assert round(sizes["DeTraMe-Net 9"] / 1e6, 1) == 3.0
    assert "| DeTraMe-Net 12, paper | 2.4M | 0.1605 | 3.52e-04 |" in printed
    assert printed.count("not run") == 4


@pytest.mark.slow
def test_table_2_of_paper_2_with_a_small_deep_dictionary(
    tmp_path, mnist_home, run_script, monkeypatch
):
    monkeypatch.syspath_prepend(BENCHMARKS)
    table2 = importlib.import_module("table2")
    monkeypatch.setattr(table2, "NETWORKS", {"ReLU 9": (9, "relu", 0.1)})
    two_layers = {"n_components": (8, 8), "patch_size": 3, "stride": 4, "global_pooling": True}
    monkeypatch.setattr(table2, "DDL_9", two_layers)
    monkeypatch.setattr(table2, "RATES", {"DDL": (0.03,), "DeTraMe": (0.1,)})
    path = tmp_path / "table2.json"
    run_script(
        "table2",
        *("--images", 10, "--ddl-images", 2, "--repeats", 1, "--device", "cpu", "--budget", 20),
        *("--seeds", 1, "--table1", tmp_path / "none.json", "--output", path),
        *("--data-home", mnist_home),
    )
    found = json.loads(path.read_text())
    assert [row["network"] for row in found["networks"]] == ["ReLU 9", "DDL 9"]
    assert [row["network"] for row in found["small"]] == ["DDL", "DeTraMe"]
    for row in found["small"]:
        assert row["accuracy"] > 0.3  # chance is 0.1
