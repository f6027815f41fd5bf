import gzip
import struct

import numpy as np
import pytest

from neuralmutator.runs.images import load_images


def idx(array):
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


def test_digits_come_with_the_package():
    images = load_images("digits")
    assert images.train.shape == (1438, 64) and images.test.shape == (359, 64)
    assert float(images.train.min()) == 0 and float(images.train.max()) == 1
    assert sorted(np.unique(images.test_labels)) == list(range(10))
    other = load_images("digits", seed=1)
    assert not np.array_equal(images.test_labels, other.test_labels)


def test_an_npz_is_split_and_keeps_every_image_with_its_label(tmp_path):
    labels = np.arange(20, dtype=np.uint8) % 10
    np.savez(tmp_path / "x.npz", images=(12 * labels)[:, None, None] * np.ones((1, 3, 3), np.uint8), labels=labels)
    images = load_images(str(tmp_path / "x.npz"))
    assert images.train.shape == (16, 9) and images.test.shape == (4, 9)
    for x, y in ((images.train, images.train_labels), (images.test, images.test_labels)):
        np.testing.assert_allclose(x[:, 0] * 9, y, atol=1e-5)


@pytest.mark.parametrize("packed", [False, True])
def test_the_files_of_mnist(tmp_path, packed):
    random = np.random.default_rng(0)
    written = {}
    for name, n in (("train", 6), ("t10k", 5)):
        x = random.integers(0, 256, (n, 28, 28), dtype=np.uint8)
        x[0, 0, 0] = 255
        y = random.integers(0, 10, n, dtype=np.uint8)
        written[name] = x, y
        for kind, array in (("images-idx3", x), ("labels-idx1", y)):
            data = idx(array)
            path = tmp_path / f"{name}-{kind}-ubyte{'.gz' if packed else ''}"
            path.write_bytes(gzip.compress(data) if packed else data)
    images = load_images(str(tmp_path))
    np.testing.assert_allclose(images.train, written["train"][0].reshape(6, 784) / 255, atol=1e-6)
    np.testing.assert_array_equal(images.test_labels, written["t10k"][1])


def test_what_are_no_images_gets_one_line(tmp_path):
    good = {"images": np.ones((10, 2, 2), np.uint8), "labels": np.zeros(10, np.uint8)}
    bad = {
        "missing": ({"images": good["images"]}, "must hold 'images' and 'labels'"),
        "counts": (good | {"labels": np.zeros(9, np.uint8)}, "one label for each"),
        "few": ({name: array[:4] for name, array in good.items()}, "at least 5 images, got 4"),
        "scalar": (good | {"images": np.uint8(3)}, "one label for each"),
        "negative": (good | {"labels": np.full(10, -1)}, "from 0 to 999, got -1"),
        "large": (good | {"labels": np.full(10, 1000)}, "got 1000"),
        "broken labels": (good | {"labels": np.full(10, 0.5)}, "whole numbers"),
        "nan": (good | {"images": np.full((10, 2, 2), np.nan)}, "finite"),
        "objects": (good | {"images": np.array([{}] * 10)}, "cannot be read"),
    }
    for name, (arrays, message) in bad.items():
        np.savez(tmp_path / f"{name}.npz", **arrays)
        with pytest.raises(ValueError, match=message) as refusal:
            load_images(str(tmp_path / f"{name}.npz"))
        assert "\n" not in str(refusal.value)
    (tmp_path / "text.npz").write_text("no archive")
    (tmp_path / "half.npz").write_bytes((tmp_path / "nan.npz").read_bytes()[:100])
    for name in ("text", "half"):
        with pytest.raises(ValueError, match="cannot be read"):
            load_images(str(tmp_path / f"{name}.npz"))
    with pytest.raises(ValueError, match="'digits', a folder"):
        load_images(str(tmp_path / "nothing"))
    with pytest.raises(ValueError, match="has no train-images"):
        load_images(str(tmp_path))
    (tmp_path / "train-images-idx3-ubyte").write_bytes(b"\x00\x00\x0d\x01")
    with pytest.raises(ValueError, match="is not an IDX file"):
        load_images(str(tmp_path))


def test_images_of_two_sizes_are_refused(tmp_path):
    for name, side in (("train", 4), ("t10k", 3)):
        (tmp_path / f"{name}-images-idx3-ubyte").write_bytes(idx(np.ones((6, side, side), np.uint8)))
        (tmp_path / f"{name}-labels-idx1-ubyte").write_bytes(idx(np.arange(6, dtype=np.uint8)))
    with pytest.raises(ValueError, match="of one size, got 16 and 9 pixels"):
        load_images(str(tmp_path))
