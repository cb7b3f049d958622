"""Train the demo zoo: one small vision transformer and four fine-tunes of it, on real images.

    python assets/demo/train.py            # about six minutes on two cores; rewrites everything beside this file

Data: Fashion-MNIST (MIT licence, Debian package `dataset-fashion-mnist`) and the handwritten digits that
scikit-learn carries (BSD-3-Clause; from the UCI repository's optical recognition set). Nothing is downloaded.

The base has seen every one of the twenty classes, but coarsely: for most images it was told only the group (a
top, a shoe, a digit, …), for a few the exact class. Each fine-tune then goes on, with exact classes only, on one
part: so each has something to gain on its part, and pays for it elsewhere. Steps and learning rates were chosen
on `VALIDATION` images cut from the training files; the probe items come from the files' test parts, which
training never reads.
"""

from __future__ import annotations

import base64
import gzip
import io
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from sklearn.datasets import load_digits
from torch.nn.functional import log_softmax
from transformers import ViTConfig, ViTForImageClassification

HERE = Path(__file__).resolve().parent
FASHION = Path("/usr/share/datasets/fashion-mnist")
SEED = 20260

GARMENTS = ("T-shirt", "trousers", "pullover", "dress", "coat")
GARMENTS += ("sandal", "shirt", "sneaker", "bag", "ankle boot")
DIGITS = tuple(str(digit) for digit in range(10))
LABELS = GARMENTS + DIGITS
TOPS = ("T-shirt", "pullover", "dress", "coat", "shirt")
SHOES = ("sandal", "sneaker", "ankle boot")
GROUPS = (TOPS, SHOES, ("trousers",), ("bag",), DIGITS)

BATCH = 128
BASE_STEPS = 1200
BASE_RATE = 1.5e-3
TUNE_STEPS = 200
TUNE_RATE = 4e-4
EXACT_GARMENTS = 600  # images of which the base is told the exact class, of 58,000
EXACT_DIGITS = 120  # of 1,200
VALIDATION = 2000  # garments cut from the training file; a tenth as many digits
PROBE_ITEMS = 200


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


def read_idx(path: Path) -> np.ndarray:
    """A gzipped IDX file of unsigned bytes, as Fashion-MNIST comes."""
    raw = gzip.decompress(path.read_bytes())
    rank = raw[3]
    shape = tuple(int.from_bytes(raw[4 + 4 * i : 8 + 4 * i], "big") for i in range(rank))
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * rank).reshape(shape)


def garments(seed: int) -> Split:
    """Fashion-MNIST, its training file cut into training and validation."""
    files = {part: f"{part}-images-idx3-ubyte.gz" for part in ("train", "t10k")}
    read = {
        part: Images(read_idx(FASHION / name), read_idx(FASHION / name.replace("images-idx3", "labels-idx1")))
        for part, name in files.items()
    }
    read = {part: Images(images.pixels, images.labels.astype(np.int64)) for part, images in read.items()}
    order = np.random.default_rng(seed).permutation(len(read["train"]))
    train, test = read["train"], read["t10k"]
    return Split(train.take(order[VALIDATION:]), train.take(order[:VALIDATION]), test)


def digits(seed: int) -> Split:
    """scikit-learn's 8×8 digits, enlarged to 24×24 and framed to 28×28; the last 397 are the test part."""
    data = load_digits()
    small = (data.images * (255 / 16)).astype(np.uint8)
    large = [np.asarray(Image.fromarray(image).resize((24, 24), Image.Resampling.BICUBIC)) for image in small]
    every = Images(np.pad(np.stack(large), ((0, 0), (2, 2), (2, 2))), data.target.astype(np.int64) + len(GARMENTS))
    # The file keeps each writer's digits together, so its tail holds hands that training has not seen.
    seen, test = every.take(slice(0, 1400)), every.take(slice(1400, None))
    order = np.random.default_rng(seed).permutation(len(seen))
    return Split(seen.take(order[VALIDATION // 10 :]), seen.take(order[: VALIDATION // 10]), test)


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


def exactly(labels: np.ndarray) -> np.ndarray:
    """bool [n, 20]: the one right answer."""
    return np.eye(len(LABELS), dtype=bool)[labels]


def coarsely(labels: np.ndarray) -> np.ndarray:
    """bool [n, 20]: every class of the right one's group."""
    same_group = np.zeros((len(LABELS), len(LABELS)), bool)
    for group in GROUPS:
        places = [LABELS.index(name) for name in group]
        same_group[np.ix_(places, places)] = True
    return same_group[labels]


@dataclass(frozen=True)
class Lesson:
    """Images to draw from, what the model is told about them, and how many go into a batch."""

    images: Images
    told: Callable[[np.ndarray], np.ndarray]
    share: int


def train(model: ViTForImageClassification, lessons: list[Lesson], steps: int, rate: float, seed: int) -> None:
    """AdamW under a one-cycle rate; the loss is −log of the probability of all answers that would be right."""
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, steps, pct_start=0.15)
    model.train()
    for _ in range(steps):
        pixels, right = [], []
        for lesson in lessons:
            drawn = lesson.images.take(rng.integers(0, len(lesson.images), lesson.share))
            pixels.append(shifted(drawn.pixels, rng))
            right.append(lesson.told(drawn.labels))
        answers = log_softmax(model(as_input(np.concatenate(pixels))).logits, dim=1)
        wrong = torch.from_numpy(~np.concatenate(right))
        loss = -answers.masked_fill(wrong, float("-inf")).logsumexp(dim=1).mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
    model.eval()


def new_model() -> ViTForImageClassification:
    """423,860 parameters: eight layers of width 80 over a 4×4 grid of patches."""
    torch.manual_seed(SEED)
    return ViTForImageClassification(
        ViTConfig(
            hidden_size=80,
            num_hidden_layers=8,
            num_attention_heads=5,
            intermediate_size=160,
            image_size=28,
            patch_size=7,
            num_channels=1,
            id2label=dict(enumerate(LABELS)),
            label2id={label: place for place, label in enumerate(LABELS)},
        )
    )


def train_base(clothes: Split, numbers: Split) -> ViTForImageClassification:
    """The base: all classes, coarsely; a few images exactly."""
    model = new_model()
    lessons = [
        Lesson(clothes.train, coarsely, 72),
        Lesson(clothes.train.take(slice(0, EXACT_GARMENTS)), exactly, 24),
        Lesson(numbers.train, coarsely, 16),
        Lesson(numbers.train.take(slice(0, EXACT_DIGITS)), exactly, 16),
    ]
    train(model, lessons, BASE_STEPS, BASE_RATE, SEED)
    return model


def fine_tune(base: ViTForImageClassification, images: Images, seed: int) -> ViTForImageClassification:
    """The base, gone on with exact classes on one part only."""
    model = ViTForImageClassification(base.config)
    model.load_state_dict(base.state_dict())
    train(model, [Lesson(images, exactly, BATCH)], TUNE_STEPS, TUNE_RATE, seed)
    return model
