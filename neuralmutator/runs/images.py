"""Labelled images from files: scikit-learn's digits, MNIST's IDX files, or arrays in an .npz."""

import gzip
import struct
import zipfile
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from neuralmutator.quine.classifier import Images

TEST_SHARE = 0.2  # of data that have no test images of their own
IDX = (
    ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
)


def load_images(source: str, seed: int = 0) -> Images:
    """Images f32[n, pixels] of 0 to 1 with labels i32[n], for training and for testing.

    Args:
        source: "digits" (1,797 images of 8 x 8, comes with scikit-learn), a folder with MNIST's four IDX files (may be
            gzipped), or an .npz with ``images`` [n, height, width] and ``labels`` [n].
        seed: of the split, where the data have no test images of their own: a fifth of them is held out.

    Raises:
        ValueError: if there are no such data, or they are not images with labels.
    """
    if source == "digits":
        from sklearn.datasets import load_digits

        digits = load_digits()
        return _split(*_check(source, digits.images, digits.target), seed)
    path = Path(source)
    if path.is_dir():
        (x, y), (test_x, test_y) = (_check(source, _idx(path, a), _idx(path, b)) for a, b in IDX)
        if x.shape[1] != test_x.shape[1]:
            raise ValueError(f"images in {source} must be of one size, got {x.shape[1]} and {test_x.shape[1]} pixels")
        return Images(*map(jnp.asarray, (x, y, test_x, test_y)))
    if not path.exists():
        raise ValueError(f"data must be 'digits', a folder of IDX files or an .npz, got {source!r}")
    try:
        with np.load(path) as data:
            images, labels = data["images"], data["labels"]
    except KeyError as error:
        raise ValueError(f"{source} must hold 'images' and 'labels'") from error
    except (ValueError, TypeError, AttributeError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{source} cannot be read as an .npz: {error}") from error
    return _split(*_check(source, images, labels), seed)


def _check(source: str, images: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scales images to 0 … 1 and flattens them."""
    if images.ndim < 2 or not np.issubdtype(images.dtype, np.number) or labels.shape != images.shape[:1]:
        raise ValueError(f"{source} must hold images and one label for each, got {images.shape} and {labels.shape}")
    if len(images) < 5:
        raise ValueError(f"{source} must hold at least 5 images, got {len(images)}")
    if not np.isfinite(images).all() or images.min() < 0 or images.max() <= 0:
        raise ValueError(f"images in {source} must be finite numbers of at least 0, and not all 0")
    if not np.issubdtype(labels.dtype, np.integer) or labels.min() < 0 or labels.max() > 999:
        found = f"{labels.min()} to {labels.max()}"
        raise ValueError(f"labels in {source} must be whole numbers from 0 to 999, got {found}")
    return (images / images.max()).reshape(len(images), -1).astype(np.float32), labels.astype(np.int32)


def _split(images: np.ndarray, labels: np.ndarray, seed: int) -> Images:
    order = np.random.default_rng(seed).permutation(len(labels))
    test, train = np.split(order, [round(TEST_SHARE * len(labels))])
    return Images(*map(jnp.asarray, (images[train], labels[train], images[test], labels[test])))


def _idx(folder: Path, name: str) -> np.ndarray:
    """One IDX file of unsigned bytes: zero, zero, 8, the number of dimensions, their sizes, the data."""
    for place in (folder / name, folder / f"{name}.gz"):
        if place.exists():
            break
    else:
        raise ValueError(f"{folder} has no {name}")
    try:
        data = gzip.decompress(place.read_bytes()) if place.suffix == ".gz" else place.read_bytes()
        start, kind, dimensions = struct.unpack_from(">HBB", data)
        shape = struct.unpack_from(f">{dimensions}I", data, 4)
        if (start, kind) != (0, 8):
            raise ValueError("no unsigned bytes")
        return np.frombuffer(data, np.uint8, offset=4 + 4 * dimensions).reshape(shape)
    except (ValueError, struct.error, OSError, EOFError) as error:
        raise ValueError(f"{place} is not an IDX file: {error}") from error
