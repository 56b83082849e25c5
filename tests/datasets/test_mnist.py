"""Tests of the IDX reader."""

import gzip
import struct

import numpy as np
import pytest

from skddl.datasets import load_mnist

IMAGES = np.random.default_rng(0).integers(0, 256, size=(5, 4, 3), dtype=np.uint8)
LABELS = np.array([7, 0, 9, 1, 7], dtype=np.uint8)


def idx(array):
    """`array` as the content of an IDX file."""
    header = bytes([0, 0, 0x08, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.tobytes()


def write(folder, images=None, labels=None, *, prefix="train", suffix=""):
    """Write both files, from arrays or from bytes as they are."""
    folder.mkdir(parents=True, exist_ok=True)
    images = idx(IMAGES) if images is None else images
    labels = idx(LABELS) if labels is None else labels
    pack = gzip.compress if suffix == ".gz" else bytes
    (folder / f"{prefix}-images-idx3-ubyte{suffix}").write_bytes(pack(images))
    (folder / f"{prefix}-labels-idx1-ubyte{suffix}").write_bytes(pack(labels))


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("folder", ["mnist", "MNIST/raw", "."])
@pytest.mark.parametrize(("subset", "prefix"), [("train", "train"), ("test", "t10k")])
def test_files_are_read_from_each_place_plain_or_compressed(
    tmp_path, subset, prefix, folder, suffix
):
    write(tmp_path / folder, prefix=prefix, suffix=suffix)
    mnist = load_mnist(tmp_path, subset=subset)
    assert mnist.data.dtype == np.uint8
    np.testing.assert_array_equal(mnist.data, IMAGES.reshape(5, 12))
    assert mnist.target.dtype == np.int64
    np.testing.assert_array_equal(mnist.target, LABELS)


def test_bunch_holds_views_names_and_a_description(tmp_path):
    write(tmp_path)
    mnist = load_mnist(tmp_path)
    assert mnist.images.shape == (5, 1, 4, 3)
    np.testing.assert_array_equal(mnist.images[:, 0], IMAGES)
    assert np.shares_memory(mnist.images, mnist.data)
    assert mnist.data.flags.c_contiguous
    assert mnist.data.flags.writeable
    np.testing.assert_array_equal(mnist.target_names, range(10))
    assert "MNIST" in mnist.DESCR


def test_return_X_y_gives_the_same_arrays(tmp_path):
    write(tmp_path)
    X, y = load_mnist(tmp_path, return_X_y=True)
    np.testing.assert_array_equal(X, IMAGES.reshape(5, 12))
    np.testing.assert_array_equal(y, LABELS)


def test_environment_variable_names_the_folder(tmp_path, monkeypatch):
    write(tmp_path / "mnist")
    monkeypatch.setenv("SKDDL_DATA", str(tmp_path))
    assert load_mnist().data.shape == (5, 12)


def test_plain_content_under_the_name_of_a_compressed_file_is_read(tmp_path):
    write(tmp_path)
    for path in list(tmp_path.iterdir()):
        path.rename(path.with_name(path.name + ".gz"))
    np.testing.assert_array_equal(load_mnist(tmp_path).target, LABELS)


def test_one_file_of_two_is_not_enough(tmp_path):
    write(tmp_path / "mnist")
    (tmp_path / "mnist" / "train-labels-idx1-ubyte").unlink()
    with pytest.raises(FileNotFoundError, match="train-labels-idx1-ubyte"):
        load_mnist(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "magic number is '', expected '00 00 08 03'"),
        (b"GIF89a...", "magic number is '47 49 46 38', expected '00 00 08 03'"),
        # Labels in the place of images; float32 in the place of bytes.
        (idx(LABELS), "magic number is '00 00 08 01', expected '00 00 08 03'"),
        (b"\0\0\x0d\x03" + bytes(12), "magic number is '00 00 0d 03', expected '00 00 08 03'"),
        (idx(IMAGES)[:9], "truncated within its header: 9 bytes, expected 16"),
        (idx(IMAGES)[:-1], r"59 bytes of data, expected 60 by the shape \(5, 4, 3\)"),
        (idx(IMAGES) + b"\0", r"61 bytes of data, expected 60 by the shape \(5, 4, 3\)"),
        # Sizes whose product is far more than any memory.
        (b"\0\0\x08\x03" + b"\xff" * 12 + bytes(4), "4 bytes of data, expected 79228162458924"),
        (gzip.compress(idx(IMAGES), mtime=0)[:-9], "truncated or damaged gzip file"),
        (b"\x1f\x8b" + bytes(20), "truncated or damaged gzip file"),
        (
            gzip.compress(idx(IMAGES), mtime=0)[:-8] + bytes(8),
            "truncated or damaged gzip file .*CRC",
        ),
    ],
)
def test_truncated_or_foreign_file_is_named(tmp_path, content, message):
    write(tmp_path, images=content)
    with pytest.raises(ValueError, match=message) as caught:
        load_mnist(tmp_path)
    assert str(tmp_path / "train-images-idx3-ubyte") in str(caught.value)


def test_images_and_labels_of_different_number_are_refused(tmp_path):
    write(tmp_path, labels=idx(LABELS[:4]))
    with pytest.raises(ValueError, match=r"holds 5 images, but .* holds 4 labels"):
        load_mnist(tmp_path)


def test_label_that_is_no_digit_is_refused(tmp_path):
    write(tmp_path, labels=idx(LABELS + 1))
    with pytest.raises(ValueError, match="train-labels-idx1-ubyte holds the label 10"):
        load_mnist(tmp_path)


@pytest.mark.parametrize(
    ("subset", "n_samples", "counts", "mean"),
    [
        (
            "train",
            60_000,
            [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949],
            33.3184,
        ),
        ("test", 10_000, [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009], 33.7912),
    ],
)
def test_real_files_have_the_published_counts_and_mean(mnist_home, subset, n_samples, counts, mean):
    mnist = load_mnist(mnist_home, subset=subset)
    assert mnist.images.shape == (n_samples, 1, 28, 28)
    np.testing.assert_array_equal(np.bincount(mnist.target), counts)
    assert mnist.data.mean() == pytest.approx(mean, abs=1e-4)
