"""Where the loaders look for their files, and what they say when there are none."""

import pytest

from skddl.datasets import _files, load_cifar10, load_cifar100, load_mnist


@pytest.fixture
def no_default(monkeypatch, tmp_path):
    """No SKDDL_DATA, and no data beside the checkout."""
    monkeypatch.delenv("SKDDL_DATA", raising=False)
    monkeypatch.setattr(_files, "__file__", str(tmp_path / "skddl" / "datasets" / "_files.py"))


@pytest.mark.parametrize(
    ("load", "subset", "files", "folder"),
    [
        (load_mnist, "train", ["train-images-idx3-ubyte", "train-labels-idx1-ubyte"], "mnist"),
        (load_mnist, "test", ["t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"], "mnist"),
        (
            load_cifar10,
            "train",
            [f"data_batch_{i}.bin" for i in (1, 2, 3, 4, 5)],
            "cifar-10-batches-bin",
        ),
        (load_cifar10, "test", ["test_batch.bin"], "cifar-10-batches-bin"),
        (load_cifar100, "train", ["train.bin"], "cifar-100-binary"),
        (load_cifar100, "test", ["test.bin"], "cifar-100-binary"),
    ],
)
def test_missing_files_are_named_with_their_place_and_the_way_out(
    load, subset, files, folder, tmp_path
):
    with pytest.raises(FileNotFoundError) as caught:
        load(tmp_path, subset=subset)
    message = str(caught.value)
    for part in (*files, str(tmp_path / folder), "https://", "data_home", "SKDDL_DATA"):
        assert part in message


def test_without_any_folder_the_message_says_so(no_default):
    with pytest.raises(FileNotFoundError, match=r"data_home is None and .*SKDDL_DATA is not set"):
        load_mnist()


def test_argument_goes_before_the_environment_variable(no_default, monkeypatch, tmp_path):
    monkeypatch.setenv("SKDDL_DATA", str(tmp_path / "variable"))
    assert _files.resolve_data_home(None)[0] == tmp_path / "variable"
    assert _files.resolve_data_home(tmp_path / "argument")[0] == tmp_path / "argument"
    assert _files.resolve_data_home("argument")[0].name == "argument"


def test_checkout_has_the_folder_beside_it_as_default(monkeypatch, tmp_path):
    root = tmp_path / "checkout"
    data = tmp_path / "shared" / "data"
    data.mkdir(parents=True)
    monkeypatch.delenv("SKDDL_DATA", raising=False)
    monkeypatch.setattr(_files, "__file__", str(root / "skddl" / "datasets" / "_files.py"))
    # Installed, that is without a pyproject.toml above the package, there is no default.
    assert _files.resolve_data_home(None)[0] is None
    root.mkdir()
    (root / "pyproject.toml").touch()
    assert _files.resolve_data_home(None)[0] == data


def test_tilde_is_the_home_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert _files.resolve_data_home("~/data")[0] == tmp_path / "data"


@pytest.mark.parametrize("load", [load_mnist, load_cifar10, load_cifar100])
def test_unknown_subset_is_refused_before_any_file_is_searched(load, tmp_path):
    with pytest.raises(ValueError, match="subset must be one of 'train', 'test', got 'valid'"):
        load(tmp_path, subset="valid")
