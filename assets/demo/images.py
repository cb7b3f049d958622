"""The images that the demo models are trained and measured on, as packages carry them; nothing is downloaded.

Fashion-MNIST (MIT licence): Debian's `dataset-fashion-mnist`. Handwritten digits (the UCI repository's optical
recognition set, CC BY 4.0): inside scikit-learn.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from sklearn.datasets import load_digits

FASHION = Path("/usr/share/datasets/fashion-mnist")

SEED = 20260

GARMENTS = ("T-shirt", "trousers", "pullover", "dress", "coat")
GARMENTS += ("sandal", "shirt", "sneaker", "bag", "ankle boot")
DIGITS = tuple(str(digit) for digit in range(10))
LABELS = GARMENTS + DIGITS
TOPS = ("T-shirt", "pullover", "dress", "coat", "shirt")
SHOES = ("sandal", "sneaker", "ankle boot")

VALIDATION = 2000  # garments cut from the training file; a tenth as many digits


@dataclass(frozen=True)
class Images:
    """Grey images and their classes.

    Args:
        pixels: uint8 [n, 28, 28], white on black.
        labels: int64 [n], positions in `LABELS`.
    """

    pixels: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: np.ndarray | slice) -> Images:
        """The images at these rows."""
        return Images(self.pixels[rows], self.labels[rows])

    def of(self, classes: tuple[str, ...]) -> Images:
        """Only the images of these classes."""
        return self.take(np.isin(self.labels, [LABELS.index(name) for name in classes]))

    def tilted(self) -> Images:
        """Every image turned a quarter to the left."""
        return Images(np.ascontiguousarray(np.rot90(self.pixels, axes=(1, 2))), self.labels)


@dataclass(frozen=True)
class Split:
    """The same kind of images for training, for choosing numbers, and for the probes."""

    train: Images
    validation: Images
    test: Images

    def each(self, change: Callable[[Images], Images]) -> Split:
        """The same change made to all three."""
        return Split(change(self.train), change(self.validation), change(self.test))


def read_idx(path: Path) -> np.ndarray:
    """A gzipped IDX file of unsigned bytes, as Fashion-MNIST comes."""
    raw = gzip.decompress(path.read_bytes())
    rank = raw[3]
    shape = tuple(int.from_bytes(raw[4 + 4 * i : 8 + 4 * i], "big") for i in range(rank))
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * rank).reshape(shape)


def garments() -> Split:
    """Fashion-MNIST, its training file cut into training and validation."""
    files = {part: f"{part}-images-idx3-ubyte.gz" for part in ("train", "t10k")}
    read = {
        part: Images(read_idx(FASHION / name), read_idx(FASHION / name.replace("images-idx3", "labels-idx1")))
        for part, name in files.items()
    }
    read = {part: Images(images.pixels, images.labels.astype(np.int64)) for part, images in read.items()}
    order = np.random.default_rng(SEED).permutation(len(read["train"]))
    train, test = read["train"], read["t10k"]
    return Split(train.take(order[VALIDATION:]), train.take(order[:VALIDATION]), test)


def digits() -> Split:
    """scikit-learn's 8×8 digits, enlarged to 24×24 and framed to 28×28; the last 397 are the test part."""
    data = load_digits()
    small = (data.images * (255 / 16)).astype(np.uint8)
    large = [np.asarray(Image.fromarray(image).resize((24, 24), Image.Resampling.BICUBIC)) for image in small]
    every = Images(
        np.pad(np.stack(large), ((0, 0), (2, 2), (2, 2))), data.target.astype(np.int64) + len(GARMENTS)
    )
    # The file keeps each writer's digits together, so its tail holds hands that training has not seen.
    seen, test = every.take(slice(0, 1400)), every.take(slice(1400, None))
    order = np.random.default_rng(SEED).permutation(len(seen))
    return Split(seen.take(order[VALIDATION // 10 :]), seen.take(order[: VALIDATION // 10]), test)


def parts(clothes: Split, numbers: Split) -> dict[str, Split]:
    """What each fine-tune is trained on, and each probe asks about, by name."""
    return {
        "tops": clothes.each(lambda images: images.of(TOPS)),
        "shoes": clothes.each(lambda images: images.of(SHOES)),
        "digits": numbers,
        "tilted": clothes.each(Images.tilted),
    }


def as_input(pixels: np.ndarray) -> torch.Tensor:
    """float32 [n, 1, 28, 28] in −1 … 1: what preprocessor_config.json says."""
    return torch.from_numpy(pixels.astype(np.float32))[:, None] / 127.5 - 1


def shifted(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Each image moved by up to two pixels each way, black coming in: a few hundred digits are few."""
    framed = np.pad(pixels, ((0, 0), (2, 2), (2, 2)))
    across, down = rng.integers(0, 5, (2, len(pixels)))
    rows = down[:, None, None] + np.arange(28)[None, :, None]
    columns = across[:, None, None] + np.arange(28)[None, None, :]
    return framed[np.arange(len(pixels))[:, None, None], rows, columns]
