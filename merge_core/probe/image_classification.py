"""Images and their classes."""

from __future__ import annotations

import base64
import binascii
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image

from merge_core.probe.classification import accuracy
from merge_core.probe.fields import Fields
from merge_core.probe.local_model import IMAGE_CLASSIFIER, LocalModel
from merge_core.probe.probe_set import ProbeResult, ProbeSet
from merge_core.probe.work import Work

LARGEST_SIDE = 2048  # pixels
SIGNATURE = b"\x89PNG\r\n\x1a\n"
PATCHES = 256  # that a model cuts an image into, about, where its configuration does not say


@dataclass(frozen=True)
class LabelledImage:
    """One item.

    Args:
        png: a PNG file's bytes, known to be whole.
        label: its class.
    """

    png: bytes
    label: str


class ImageClassification:
    """Accuracy, among all classes that the model knows, with Wilson's interval."""

    name = "image-classification"
    head = IMAGE_CLASSIFIER
    least_items = 1
    has_labels = True

    def read(self, fields: Fields, labels: tuple[str, ...]) -> LabelledImage:
        """An item: `image`, `label`."""
        fields.only("image", "label")
        return LabelledImage(_checked_png(fields), fields.label(labels))

    def check(self, model: LocalModel, probe: ProbeSet) -> None:
        """The model knows the classes, and how to prepare images."""
        model.check_labels(probe.labels, probe.name)
        _ = model.processor

    def measure(self, model: LocalModel, probe: ProbeSet, work: Work) -> list[ProbeResult]:
        """One accuracy."""
        mode = "L" if getattr(model.config, "num_channels", 3) == 1 else "RGB"

        def inputs(items: Sequence[LabelledImage]) -> Mapping[str, Any]:
            images = [_decode(item.png).convert(mode) for item in items]
            prepared: Mapping[str, Any] = model.processor(images=images, return_tensors="pt")
            return prepared

        return accuracy(model, self.head, probe, work, model.batch(_patches(model.config)), inputs)


def _patches(config: Any) -> int:
    """How many patches a transformer cuts an image into: what its work grows with."""
    side, patch = getattr(config, "image_size", None), getattr(config, "patch_size", None)
    if not (isinstance(side, int) and isinstance(patch, int) and 0 < patch <= side):
        return PATCHES
    return 1 + (side // patch) ** 2


def _decode(png: bytes) -> Image.Image:
    return Image.open(io.BytesIO(png), formats=("PNG",))


def _checked_png(fields: Fields) -> bytes:
    """The bytes under `image`, decoded once to see that they are an image of a sensible size."""
    value = fields.values.get("image")
    if not isinstance(value, str):
        fields.wrong("image", "a PNG as base64")
    try:
        png = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        fields.wrong("image", "a PNG as base64", "Base64 has no spaces and ends in = where needed.")
    if not png.startswith(SIGNATURE):
        fields.fail("image: expected a PNG, found another kind of file.", "Convert the image to PNG.")
    # From the header, before anything is unpacked: a small file may claim to be a huge image.
    sides = [int.from_bytes(png[at : at + 4], "big") for at in (16, 20)]
    if not all(0 < side <= LARGEST_SIDE for side in sides):
        fields.fail(
            f"image: expected at most {LARGEST_SIDE} × {LARGEST_SIDE} pixels, found {sides[0]} × {sides[1]}.",
            "Make the image smaller.",
        )
    try:
        _decode(png).load()
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        fields.fail(
            f"image: expected a whole PNG, found a damaged one ({str(error)[:80]}).", "Write it anew."
        )
    return png
