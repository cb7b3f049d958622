"""A model's name in YAML, as text or as `{model: {path, revision}, lora}`, → `ModelRef`."""

from __future__ import annotations

from merge_core.recipe import guidance
from merge_core.recipe.lines import Lines
from merge_core.recipe.reference import ModelRef
from merge_core.recipe.yaml_source import Fields, Node, Text, describe, shorten

_EXAMPLE = "Write a folder or a Hub id, as in `acme/model@revision`."


def read_model(node: Node, lines: Lines) -> ModelRef:
    """The model that `node` names.

    Raises:
        UserError: it has no such form.
    """
    if isinstance(node, Text):
        return ModelRef.parse(node.text)
    if not isinstance(node, Fields):
        raise lines.error(node.line, f"expected a model's name, found {describe(node)}.", _EXAMPLE)
    known = {key.text for key, _ in node.entries}
    if "path" in known:
        return ModelRef(*_path(node, lines))
    _allow(node, ("model", "lora"), lines)
    model, lora = node.get("model"), node.get("lora")
    if model is None:
        raise lines.error(node.line, "this model has no path.", _EXAMPLE)
    ref = ModelRef(*_path(model, lines)) if isinstance(model, Fields) else read_model(model, lines)
    if lora is None:
        return ref
    path, revision = _path(lora, lines) if isinstance(lora, Fields) else (_text(lora, lines), None)
    return ModelRef(ref.path, ref.revision, f"{path}@{revision}" if revision else path)


def _path(node: Fields, lines: Lines) -> tuple[str, str | None]:
    _allow(node, ("path", "revision"), lines)
    path, revision = node.get("path"), node.get("revision")
    if path is None:
        raise lines.error(node.line, "this model has no path.", _EXAMPLE)
    return _text(path, lines), _text(revision, lines) if revision is not None else None


def _text(node: Node, lines: Lines) -> str:
    if not isinstance(node, Text):
        raise lines.error(node.line, f"expected text, found {describe(node)}.", _EXAMPLE)
    return node.text


def _allow(node: Fields, valid: tuple[str, ...], lines: Lines) -> None:
    for key, _ in node.entries:
        if key.text not in valid:
            raise lines.error(
                key.line,
                f"unknown key '{shorten(key.text)}' in a model's name.",
                guidance.suggest(key.text, valid),
            )
