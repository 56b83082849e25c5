"""Tests of the readers of CIFAR's binary version."""

import numpy as np
import pytest

from skddl.datasets import load_cifar10, load_cifar100

FINE_NAMES = [f"thing_{i}" for i in range(100)]
COARSE_NAMES = [f"group_{i}" for i in range(20)]


def records(n_samples, label_columns, seed=0):
    """Random records, (n_samples, n_labels + 3072), with the given columns of labels."""
    pixels = np.random.default_rng(seed).integers(0, 256, size=(n_samples, 3072), dtype=np.uint8)
    return np.column_stack([np.asarray(label_columns, dtype=np.uint8).T, pixels])


@pytest.fixture
def cifar10_home(tmp_path):
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    for i in range(1, 6):
        records(2, [[i, 9 - i]], seed=i).tofile(folder / f"data_batch_{i}.bin")
    records(3, [[0, 9, 4]]).tofile(folder / "test_batch.bin")
    return tmp_path


@pytest.fixture
def cifar100_home(tmp_path):
    folder = tmp_path / "cifar-100-binary"
    folder.mkdir()
    records(3, [[0, 19, 7], [99, 0, 50]], seed=1).tofile(folder / "train.bin")
    records(2, [[3, 4], [5, 6]], seed=2).tofile(folder / "test.bin")
    # The official files end with an empty line.
    (folder / "fine_label_names.txt").write_text("\n".join(FINE_NAMES) + "\n\n")
    (folder / "coarse_label_names.txt").write_text("\n".join(COARSE_NAMES) + "\n\n")
    return tmp_path


def test_cifar10_batches_are_joined_in_order(cifar10_home):
    cifar10 = load_cifar10(cifar10_home)
    assert cifar10.data.dtype == np.uint8
    assert cifar10.data.flags.c_contiguous
    expected = np.concatenate([records(2, [[0, 0]], seed=i)[:, 1:] for i in range(1, 6)])
    np.testing.assert_array_equal(cifar10.data, expected)
    assert cifar10.target.dtype == np.int64
    np.testing.assert_array_equal(cifar10.target, [1, 8, 2, 7, 3, 6, 4, 5, 5, 4])


def test_images_are_planes_of_red_green_and_blue(cifar10_home):
    cifar10 = load_cifar10(cifar10_home, subset="test")
    assert cifar10.images.shape == (3, 3, 32, 32)
    assert np.shares_memory(cifar10.images, cifar10.data)
    # Green, row 2, column 5 of the last record; byte 0 is the label.
    green = records(3, [[0, 9, 4]])[2, 1 + 1024 + 2 * 32 + 5]
    assert cifar10.images[2, 1, 2, 5] == green


def test_files_are_found_in_data_home_itself(cifar10_home):
    X, y = load_cifar10(cifar10_home / "cifar-10-batches-bin", subset="test", return_X_y=True)
    assert X.shape == (3, 3072)
    np.testing.assert_array_equal(y, [0, 9, 4])


def test_cifar10_names_come_from_their_file_where_there_is_one(cifar10_home):
    assert list(load_cifar10(cifar10_home).target_names) == list("0123456789")
    path = cifar10_home / "cifar-10-batches-bin" / "batches.meta.txt"
    path.write_text("\n".join("abcdefghij") + "\n\n")
    assert list(load_cifar10(cifar10_home).target_names) == list("abcdefghij")
    path.write_text("airplane\n")
    with pytest.raises(ValueError, match=r"batches\.meta\.txt holds 1 names .* expected 10"):
        load_cifar10(cifar10_home)


@pytest.mark.parametrize(
    ("label_mode", "target", "names"),
    [("fine", [99, 0, 50], FINE_NAMES), ("coarse", [0, 19, 7], COARSE_NAMES)],
)
def test_cifar100_has_fine_and_coarse_labels(cifar100_home, label_mode, target, names):
    cifar100 = load_cifar100(cifar100_home, label_mode=label_mode)
    np.testing.assert_array_equal(cifar100.target, target)
    assert list(cifar100.target_names) == names
    expected = records(3, [[0, 0, 0], [0, 0, 0]], seed=1)[:, 2:]
    np.testing.assert_array_equal(cifar100.data, expected)
    np.testing.assert_array_equal(cifar100.images.reshape(3, 3072), expected)


def test_cifar100_returns_the_pair_of_its_test_set(cifar100_home):
    X, y = load_cifar100(cifar100_home, subset="test", return_X_y=True)
    assert X.shape == (2, 3072)
    np.testing.assert_array_equal(y, [5, 6])


def test_unknown_label_mode_is_refused(cifar100_home):
    with pytest.raises(
        ValueError, match="label_mode must be one of 'coarse', 'fine', got 'medium'"
    ):
        load_cifar100(cifar100_home, label_mode="medium")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "0 bytes, expected a multiple of 3073"),
        (bytes(3072), "3072 bytes, expected a multiple of 3073"),
        (records(2, [[0, 1], [0, 1]]).tobytes(), "6148 bytes, expected a multiple of 3073"),
        (records(2, [[3, 10]]).tobytes(), r"largest label\(s\) are \[10\], .* less than \[10\]"),
    ],
)
def test_truncated_or_foreign_cifar10_file_is_named(cifar10_home, content, message):
    path = cifar10_home / "cifar-10-batches-bin" / "data_batch_3.bin"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        load_cifar10(cifar10_home)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("labels", [[[20], [0]], [[0], [100]]])
def test_cifar100_labels_out_of_range_are_refused(cifar100_home, labels):
    path = cifar100_home / "cifar-100-binary" / "train.bin"
    records(1, labels).tofile(path)
    with pytest.raises(ValueError, match=r"less than \[20, 100\]"):
        load_cifar100(cifar100_home)
