"""The files beside the weights that make the output a complete model folder."""

from __future__ import annotations

import json
from pathlib import Path

from merge_core.checkpoint.files import read_object
from merge_core.plan import MergePlan
from merge_core.recipe import write_recipe
from merge_core.recipe.published import published_recipe


def companion_files(plan: MergePlan) -> list[tuple[str, Path | bytes]]:
    """Everything beside the weights that a complete model folder needs."""
    template = plan.template
    files: list[tuple[str, Path | bytes]] = []
    for name in template.files:
        source = template.folder / name
        files.append((name, _config(plan, source) if name == "config.json" else source))
    if len(plan.shards) > 1:
        names = {t.name: plan.shards[t.shard].file for t in plan.tensors}
        index = {"metadata": {"total_size": sum(t.nbytes for t in plan.tensors)}, "weight_map": names}
        files.append(("model.safetensors.index.json", (json.dumps(index, indent=2) + "\n").encode()))
    files.append(("mergekit_config.yml", write_recipe(published_recipe(plan.recipe, plan.commits)).encode()))
    return files


def _config(plan: MergePlan, source: Path) -> Path | bytes:
    """The template's config.json, naming the dtype that the output really has."""
    wanted = plan.recipe.out_dtype or plan.recipe.dtype
    if wanted is None:
        return source
    config = dict(read_object(source.read_bytes(), f"{plan.template.ref}: {source.name}"))
    for key in ("torch_dtype", "dtype"):
        if key in config:
            config[key] = wanted
    return (json.dumps(config, indent=2) + "\n").encode()
