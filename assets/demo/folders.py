"""How the demo's models and probes are written: Hugging Face folders, and probe files with their images inside."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path

from images import LABELS, Images
from PIL import Image
from transformers import ViTForImageClassification
from transformers.utils import logging

HERE = Path(__file__).resolve().parent

PREPROCESSING = {
    "image_processor_type": "ViTImageProcessor",
    "do_resize": True,
    "size": {"height": 28, "width": 28},
    "resample": 2,
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "image_mean": [0.5],
    "image_std": [0.5],
}

CARD = """---
license: apache-2.0
library_name: transformers
pipeline_tag: image-classification
---

# {name}

One of the small models that Tiebreak shows itself on: a vision transformer of {parameters:,} parameters that reads
grey images of 28 × 28 pixels and knows twenty classes, ten garments and ten digits. Good for trying out merging, and
for nothing else.

{story}

- Garments: Fashion-MNIST (Zalando Research, MIT licence).
- Digits: Optical Recognition of Handwritten Digits (E. Alpaydin, C. Kaynak; UCI repository, CC BY 4.0), as carried by
  scikit-learn, enlarged from 8 × 8 pixels.

Weights: Apache-2.0. Trained by `assets/demo/train.py`; scores in `assets/demo/RESULTS.md`.
"""


def write_model(name: str, story: str, model: ViTForImageClassification) -> None:
    """The folder `models/<name>`: weights in float32, configuration, preprocessing, and a card."""
    folder = HERE / "models" / name
    logging.disable_progress_bar()
    model.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(PREPROCESSING, indent=2) + "\n")
    (folder / "README.md").write_text(CARD.format(name=name, story=story, parameters=model.num_parameters()))


def write_probe(name: str, about: str, images: Images) -> None:
    """The file `probes/<name>.jsonl`, as `merge_core.probe` documents it."""
    classes = [LABELS[place] for place in sorted(set(images.labels.tolist()))]
    head = {"probe": name, "kind": "image-classification", "labels": classes, "about": about}
    rows = zip(images.pixels, images.labels, strict=True)
    items = ({"image": _png(pixels), "label": LABELS[place]} for pixels, place in rows)
    path = HERE / "probes" / f"{name}.jsonl"
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in (head, *items)))


def _png(pixels: object) -> str:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", optimize=True)
    return base64.b64encode(file.getvalue()).decode()
