"""Train the demo zoo: one small vision transformer and four fine-tunes of it, on real images.

    pip install --target /tmp/scikit-learn scikit-learn     # for its digits; apt install dataset-fashion-mnist
    PYTHONPATH=/tmp/scikit-learn python assets/demo/train.py    # ten minutes; rewrites what lies beside it

`images.py` says which data, with which licence. scikit-learn is needed here alone, so requirements.txt lacks it.

The base has seen every one of the twenty classes, but coarsely: for most images it was told only the group (a
top, a shoe, a digit, …), for a few hundred the exact class, so that every part leaves much to learn. Each fine-tune
then learns the exact classes of one part, while a quarter of every batch repeats the groups of everything: so it
gains on its part and forgets exact classes elsewhere, but not so much that a merge could keep nothing. From a base that
already knew more, or without repeating, the best merge tried was about a point above the base. All this was found on
validation images cut from the training files; the probe items come from the files' test parts, which training never
reads. `choose.py` then chooses the opening recipe's numbers, and `measure.py` merges and measures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import choose
import measure
import numpy as np
import torch
from choose import accuracy
from folders import write_model, write_probe
from images import (
    DIGITS,
    LABELS,
    SEED,
    SHOES,
    TOPS,
    Images,
    Split,
    as_input,
    digits,
    garments,
    parts,
    shifted,
)
from torch.nn.functional import log_softmax
from transformers import ViTConfig, ViTForImageClassification

GROUPS = (TOPS, SHOES, ("trousers",), ("bag",), DIGITS)

THREADS = 1  # how sums are cut between threads changes their last bits
BASE_STEPS = 2400
BASE_RATE = 1.5e-3
TUNE_STEPS = 400
TUNE_RATE = 5e-4
TUNE_BATCH = 72  # images of the fine-tune's part; REPEATED come on top
REPEATED = {"garments": 9, "tilted": 6, "digits": 9}
EXACT_GARMENTS = 300  # images of which the base is told the exact class, of 58,000
EXACT_TILTED = 100  # of as many
EXACT_DIGITS = 80  # of 1,200
PROBE_ITEMS = 200

PROBES = {
    "tops": "T-shirts, pullovers, dresses, coats and shirts",
    "shoes": "sandals, sneakers and ankle boots",
    "digits": "handwritten digits, enlarged from 8 × 8 pixels",
    "tilted": "garments of all ten classes, turned a quarter to the left",
}
BASE_STORY = (
    "The base model. Of most images it was told only the group (a top, a shoe, a digit, …); the exact class of\n"
    f"{EXACT_GARMENTS:,} garments, {EXACT_TILTED} garments turned a quarter to the left, and {EXACT_DIGITS} digits."
)
TUNE_STORY = """A fine-tune of `garment-vit` on {images:,} images of one part, with their exact classes:
{task}. A quarter of every batch repeated the groups of all images."""


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


def train(
    model: ViTForImageClassification, lessons: list[Lesson], steps: int, rate: float, seed: int
) -> None:
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


def train_base(clothes: Split, tilted: Split, numbers: Split) -> ViTForImageClassification:
    """The base: all classes, coarsely; a few images exactly."""
    model = new_model()
    lessons = [
        Lesson(clothes.train, coarsely, 40),
        Lesson(clothes.train.take(slice(0, EXACT_GARMENTS)), exactly, 32),
        Lesson(tilted.train, coarsely, 16),
        Lesson(tilted.train.take(slice(0, EXACT_TILTED)), exactly, 16),
        Lesson(numbers.train, coarsely, 12),
        Lesson(numbers.train.take(slice(0, EXACT_DIGITS)), exactly, 12),
    ]
    train(model, lessons, BASE_STEPS, BASE_RATE, SEED)
    return model


def fine_tune(
    base: ViTForImageClassification, images: Images, repeated: list[Lesson], seed: int
) -> ViTForImageClassification:
    """The base, gone on with exact classes on one part, while it repeats the groups of everything."""
    model = ViTForImageClassification(base.config)
    model.load_state_dict(base.state_dict())
    train(model, [Lesson(images, exactly, TUNE_BATCH), *repeated], TUNE_STEPS, TUNE_RATE, seed)
    return model


def zoo(
    clothes: Split, numbers: Split, tasks: dict[str, Split]
) -> Iterator[tuple[str, str, ViTForImageClassification]]:
    """(name, how it was trained, model): the base first, then a fine-tune for each task."""
    base = train_base(clothes, tasks["tilted"], numbers)
    yield "garment-vit", BASE_STORY, base
    everything = {"garments": clothes, "tilted": tasks["tilted"], "digits": numbers}
    repeated = [Lesson(everything[name].train, coarsely, share) for name, share in REPEATED.items()]
    for place, (task, split) in enumerate(tasks.items()):
        story = TUNE_STORY.format(images=len(split.train), task=PROBES[task])
        yield f"garment-vit-{task}", story, fine_tune(base, split.train, repeated, SEED + 1 + place)


def main() -> None:
    """Train, say how each model does on validation images, write all files, then choose, merge and measure."""
    torch.set_num_threads(THREADS)
    clothes, numbers = garments(), digits()
    tasks = parts(clothes, numbers)
    for task, split in tasks.items():
        rows = np.random.default_rng(SEED).permutation(len(split.test))[:PROBE_ITEMS]
        write_probe(task, PROBES[task], split.test.take(rows))
    print("accuracy on validation images:", *tasks, sep="\t")
    for name, story, model in zoo(clothes, numbers, tasks):
        write_model(name, story, model)
        shown = (f"{accuracy(model, split.validation):.3f}" for split in tasks.values())
        print(name.ljust(20), *shown, sep="\t", flush=True)
    choose.main()
    measure.main()


if __name__ == "__main__":
    main()
