"""A model card's YAML front matter, as the Hub reads it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from merge_core.plan import MergePlan
from merge_core.preflight.stated import Licence
from merge_core.recipe.published import PublishedModel

Score = Mapping[str, Any]

# What an architecture's name ends in → the task that the Hub files it under. Endings that leave it open are absent.
_TASKS = {
    "ForCausalLM": "text-generation",
    "LMHeadModel": "text-generation",
    "ForMaskedLM": "fill-mask",
    "ForSequenceClassification": "text-classification",
    "ForTokenClassification": "token-classification",
    "ForQuestionAnswering": "question-answering",
    "ForMultipleChoice": "multiple-choice",
    "ForImageClassification": "image-classification",
    "ForObjectDetection": "object-detection",
    "ForAudioClassification": "audio-classification",
    "ForCTC": "automatic-speech-recognition",
}


def front_matter(
    plan: MergePlan, title: str, parents: Sequence[PublishedModel], licence: Licence, scores: Sequence[Score]
) -> str:
    """The metadata between its two lines of dashes."""
    parts = [part for parent in parents for part in parent.parts]
    on_hub = list(dict.fromkeys(part.name for part in parts if part.on_hub))
    task = pipeline_tag(plan.template.config)
    metadata: dict[str, Any] = {}
    if on_hub:  # the Hub refuses names that are no repositories
        metadata |= {"base_model": on_hub, "base_model_relation": "merge"}
    if plan.template.config:
        metadata["library_name"] = "transformers"
    metadata["license"] = licence.identifier
    metadata |= {f"license_{key}": text for key in ("name", "link") if (text := getattr(licence, key))}
    if task:
        metadata["pipeline_tag"] = task
    metadata["tags"] = ["merge", "tiebreak", plan.method.name.replace("_", "-")]
    if scores:
        metadata["model-index"] = [{"name": title, "results": [_result(score, task) for score in scores]}]
    return f"---\n{yaml.safe_dump(metadata, sort_keys=False, allow_unicode=True, width=120)}---\n"


def pipeline_tag(config: Mapping[str, Any]) -> str | None:
    """The Hub's task of a model with this `config.json`; None where it does not tell."""
    architectures = config.get("architectures")
    first = architectures[0] if isinstance(architectures, list) and architectures else None
    if not isinstance(first, str):
        return None
    return next((task for ending, task in _TASKS.items() if first.endswith(ending)), None)


def _result(score: Score, task: str | None) -> dict[str, Any]:
    """One probe in the Hub's evaluation form."""
    probe, metric = str(score["probe"]), str(score["metric"])
    return {
        "task": {"type": task or "other"},
        "dataset": {"name": _line(probe), "type": _slug(probe)},
        "metrics": [
            {
                "type": _slug(metric).replace("-", "_"),
                "value": round(float(score["score"]), 6),
                "name": f"{_line(metric)}, 95 % interval {score['low']:.4f} to {score['high']:.4f}, n = {score['n']}",
                "verified": False,
            }
        ],
    }


def _line(text: str) -> str:
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in " ".join(text.split()))[
        :120
    ]


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower())[:96].strip("-") or "probe"
