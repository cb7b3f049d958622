"""Merge the demo's models in the ways named below, measure everything, and write RESULTS.md and results.json.

    python assets/demo/measure.py    # under a minute; train.py ends with it

Which merges, and with which numbers: the opening recipe, whose numbers `choose.py` took from validation images; the
papers' own defaults; and, for TIES, half of the entries. No number was picked by its score on a probe. The models
were: those of an earlier version knew so much that every merge of them scored below their base on the probes, so their
base was trained anew, to know less, and leave more for its fine-tunes to learn.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(ROOT))  # a script's own folder is where Python looks for merge_core otherwise

from merge_core.engine import merge  # noqa: E402
from merge_core.prepare import prepare  # noqa: E402
from merge_core.probe import ProbeResult, load_probe, run_probe  # noqa: E402
from merge_core.recipe import read_recipe  # noqa: E402

OPENING = "the opening recipe"
MERGES: dict[str, tuple[str, dict[str, float]]] = {
    "plain average": ("linear", {}),
    "task arithmetic, λ = 1": ("task_arithmetic", {"lambda": 1.0}),
    "task arithmetic, λ = 0.4": ("task_arithmetic", {"lambda": 0.4}),
    "TIES, density 0.2, λ = 1": ("ties", {"density": 0.2, "lambda": 1.0}),
    "TIES, density 0.5, λ = 1": ("ties", {"density": 0.5, "lambda": 1.0}),
}

INTRODUCTION = """# What the demo's models and merges of them score

Written by `assets/demo/measure.py`: merged by Tiebreak's engine, measured by its probes. Accuracy in percent with its
95 % interval (Wilson), {n} images a probe, none of them seen in training; the mean is over the probes, its interval
put together from theirs. A difference between two models of less than about 6 points on one probe cannot be told from
luck. The base was trained to know less than it could, so that its fine-tunes have something to add.
{opening}.

"""


def opening_recipe() -> str:
    """What the page opens with."""
    return (HERE / "recipe.yml").read_text()


def recipe_text(method: str, parameters: dict[str, float]) -> str:
    """The page's opening recipe with another method."""
    recipe: dict[str, Any] = yaml.safe_load(opening_recipe())
    recipe |= {"merge_method": method, "parameters": {"weight": 1.0, **parameters}}
    if method == "linear":
        del recipe["base_model"]
    return yaml.safe_dump(recipe, sort_keys=False)


def measure() -> dict[str, list[ProbeResult]]:
    """Scores of every model, then of every merge, by name."""
    os.chdir(ROOT)  # the recipe names the models from there
    probes = [load_probe(path) for path in sorted((HERE / "probes").glob("*.jsonl"))]
    recipe = read_recipe(opening_recipe())
    scores = {Path(ref.path).name: run_probe(Path(ref.path), probes) for ref in recipe.refs()}
    texts = {name: recipe_text(method, parameters) for name, (method, parameters) in MERGES.items()}
    with tempfile.TemporaryDirectory() as made:
        for number, (name, text) in enumerate({OPENING: opening_recipe(), **texts}.items()):
            folder = Path(made, str(number))
            merge(prepare(read_recipe(text)), folder)
            scores[name] = run_probe(folder, probes)
    return scores


def table(scores: dict[str, list[dict[str, Any]]]) -> str:
    """The scores as a Markdown table, a row for each model.

    Args:
        scores: the content of results.json.
    """
    probes = [score["probe"] for score in next(iter(scores.values()))]
    rows = [["", *probes, "mean"], ["---", *["---:"] * (len(probes) + 1)]]
    for name, results in scores.items():
        cells = [f"{100 * r['score']:.1f} ({100 * r['low']:.1f} – {100 * r['high']:.1f})" for r in results]
        mean = 100 * sum(r["score"] for r in results) / len(results)
        half = 100 * sum(((r["high"] - r["low"]) / 2) ** 2 for r in results) ** 0.5 / len(results)
        rows.append([name, *cells, f"{mean:.1f} ({mean - half:.1f} – {mean + half:.1f})"])
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def main() -> None:
    """Write both files."""
    scores = {name: [asdict(result) for result in results] for name, results in measure().items()}
    n = {score["n"] for results in scores.values() for score in results}
    (HERE / "results.json").write_text(json.dumps(scores, indent=1, ensure_ascii=False) + "\n")
    opened = yaml.safe_load(opening_recipe())["parameters"]
    numbers = f"density {opened['density']:g}, λ = {opened['lambda']:g}"
    opening = (
        f"The opening recipe is TIES, {numbers}, as validation images chose among merges that trim "
        "(`assets/demo/CHOICE.md`)"
    )
    text = INTRODUCTION.format(n=" or ".join(map(str, sorted(n))), opening=opening) + table(scores)
    (HERE / "RESULTS.md").write_text(text)


if __name__ == "__main__":
    main()
