"""`Recipe` → YAML that mergekit reads, always in the same order."""

from __future__ import annotations

from typing import Any

import yaml

from merge_core.methods import METHODS
from merge_core.recipe.model import Recipe, Settings
from merge_core.recipe.reference import ModelRef
from merge_core.recipe.resolve import Filtered, Setting

OUR_OWN = ("dialect", "trim_scope", "elect", "combine")  # parameters of ties that mergekit does not know


def write_recipe(recipe: Recipe) -> str:
    """YAML that `read_recipe` reads back to an equal recipe."""
    return _dump(_document(recipe, dropped=()))


def write_plain_mergekit(recipe: Recipe) -> str:
    """YAML for mergekit itself: without our own keys, each named in a comment with the value it had."""
    own = {name: recipe.parameters[name] for name in OUR_OWN if name in recipe.parameters}
    text = _dump(_document(recipe, dropped=OUR_OWN))
    if not own:
        return text
    listed = ", ".join(f"{name}: {value}" for name, value in own.items())
    return f"# Tiebreak merged with {listed}. mergekit knows no such keys: it would merge otherwise.\n{text}"


def _document(recipe: Recipe, dropped: tuple[str, ...]) -> dict[str, Any]:
    document: dict[str, Any] = {"merge_method": recipe.method}
    if recipe.base is not None:
        document["base_model"] = _model(recipe.base)
    if recipe.slices:
        document["slices"] = [
            _with(
                {
                    "sources": [
                        _with(
                            {"model": _model(entry.ref), "layer_range": [part.first, part.stop]},
                            _parameters(recipe, part.models.get(entry.ref, {}), dropped),
                        )
                        for entry in recipe.models
                    ]
                },
                _parameters(recipe, part.parameters, dropped),
            )
            for part in recipe.slices
        ]
    else:
        document["models"] = [
            _with({"model": _model(entry.ref)}, _parameters(recipe, entry.parameters, dropped))
            for entry in recipe.models
        ]
    document = _with(document, _parameters(recipe, recipe.parameters, dropped))
    for key in ("dtype", "out_dtype", "tokenizer_source", "chat_template"):
        if (value := getattr(recipe, key)) is not None:
            document[key] = value
    return document


def _with(document: dict[str, Any], parameters: dict[str, Any]) -> dict[str, Any]:
    return document | {"parameters": parameters} if parameters else document


def _model(ref: ModelRef) -> Any:
    """The short spelling where it is read back as the same model, else the long one."""
    if ModelRef.parse(str(ref)) == ref:
        return str(ref)
    model = {"path": ref.path} | ({"revision": ref.revision} if ref.revision else {})
    return {"model": model} | ({"lora": ref.lora} if ref.lora else {})


def _parameters(recipe: Recipe, settings: Settings, dropped: tuple[str, ...]) -> dict[str, Any]:
    method = METHODS[recipe.method]
    ordered = [parameter.name for parameter in method.parameters if parameter.name in settings]
    return {name: _setting(settings[name]) for name in ordered if name not in dropped}


def _setting(setting: Setting) -> Any:
    if not isinstance(setting, tuple):
        return setting
    return [_rule(part) if isinstance(part, Filtered) else part for part in setting]


def _rule(rule: Filtered) -> dict[str, Any]:
    value = list(rule.value) if isinstance(rule.value, tuple) else rule.value
    return {"value": value} if rule.filter is None else {"filter": rule.filter, "value": value}


class _Dumper(yaml.SafeDumper):
    """Writes lists of numbers on one line and never an alias."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _list(dumper: _Dumper, items: list[Any]) -> yaml.Node:
    flow = all(isinstance(item, (int, float)) for item in items)
    return dumper.represent_sequence("tag:yaml.org,2002:seq", items, flow_style=flow)


_Dumper.add_representer(list, _list)


def _dump(document: dict[str, Any]) -> str:
    return yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)
