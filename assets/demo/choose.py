"""Choose the density and λ of the opening recipe on validation images, and write them into recipe.yml and CHOICE.md.

    PYTHONPATH=/tmp/scikit-learn python assets/demo/choose.py    # minutes; train.py calls it

The images are those that `images.py` cuts from the training files: no model was trained on them, no probe has them.
"""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path

import numpy as np
import torch
from images import Images, as_input, digits, garments, parts
from measure import HERE, ROOT, recipe_text
from transformers import ViTForImageClassification

from merge_core.engine import merge
from merge_core.prepare import prepare
from merge_core.recipe import read_recipe

DENSITIES = (0.1, 0.2, 0.3, 0.5, 1.0)
SCALES = (0.5, 0.75, 1.0, 1.25, 1.5)
MOST = 1000  # images of a part that answer

INTRODUCTION = """# How the opening recipe's density and λ were chosen

Written by `assets/demo/choose.py`: mean accuracy in percent over the four parts, each on at most {most:,} validation
images, which no model was trained on and no probe has. The base: {base:.1f}. Chosen, as the highest of those that trim,
for the page is to open on a merge that does: density {density:g}, λ = {scale:g}. Its neighbours are within luck of it,
and so is the best without a trim.

"""


def accuracy(model: ViTForImageClassification, images: Images) -> float:
    """Share of images whose class the model holds for likeliest, among all twenty."""
    with torch.inference_mode():
        chunks = as_input(images.pixels).split(250)
        answers = torch.cat([model(chunk).logits.argmax(dim=1) for chunk in chunks])
    return float((answers.numpy() == images.labels).mean())


def mean_accuracy(folder: Path, tasks: dict[str, Images]) -> float:
    """Mean over the parts, in percent."""
    model = ViTForImageClassification.from_pretrained(folder, local_files_only=True).eval()
    return 100 * float(np.mean([accuracy(model, images) for images in tasks.values()]))


def main() -> None:
    """Merge at every density and scale, and write down which is best."""
    os.chdir(ROOT)  # the recipe names the models from there
    tasks = {
        name: split.validation.take(slice(0, MOST)) for name, split in parts(garments(), digits()).items()
    }
    found: dict[tuple[float, float], float] = {}
    with tempfile.TemporaryDirectory() as made:
        for number, (density, scale) in enumerate((d, s) for d in DENSITIES for s in SCALES):
            folder = Path(made, str(number))
            text = recipe_text("ties", {"density": density, "lambda": scale})
            merge(prepare(read_recipe(text)), folder)
            found[density, scale] = mean_accuracy(folder, tasks)
    density, scale = max((s for s in found if s[0] < 1), key=lambda setting: found[setting])
    base = mean_accuracy(HERE / "models" / "garment-vit", tasks)
    rows = [["density", *(f"λ = {scale:g}" for scale in SCALES)], ["---:"] * (len(SCALES) + 1)]
    rows += [[f"{d:g}", *(f"{found[d, s]:.1f}" for s in SCALES)] for d in DENSITIES]
    text = INTRODUCTION.format(most=MOST, base=base, density=density, scale=scale)
    (HERE / "CHOICE.md").write_text(text + "".join(f"| {' | '.join(row)} |\n" for row in rows))
    recipe = (HERE / "recipe.yml").read_text()
    recipe = re.sub(r"(?m)^  density: .*$", f"  density: {density}", recipe)
    (HERE / "recipe.yml").write_text(re.sub(r"(?m)^  lambda: .*$", f"  lambda: {scale}", recipe))


if __name__ == "__main__":
    main()
