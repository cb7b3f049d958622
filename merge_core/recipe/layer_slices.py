"""`slices:` that cover every layer once and in order, with parameters of their own; stacking is refused."""

from __future__ import annotations

from merge_core.errors import UserError
from merge_core.methods import Method
from merge_core.recipe import guidance
from merge_core.recipe.lines import Lines, Path
from merge_core.recipe.model import ModelEntry, Slice
from merge_core.recipe.model_names import read_model
from merge_core.recipe.reference import ModelRef
from merge_core.recipe.resolve import Setting
from merge_core.recipe.settings import read_parameters
from merge_core.recipe.yaml_source import Fields, Items, Node, Text, describe, shorten

_ONLY = "Tiebreak merges models layer by layer; slices may only give layers parameters of their own."


def read_slices(
    node: Node, method: Method | None, base: ModelRef | None, lines: Lines
) -> tuple[ModelRef | None, tuple[ModelEntry, ...], tuple[Slice, ...]]:
    """(base model, models in the first slice's order, slices). `preflight` compares with the layer count.

    Raises:
        UserError: slices that stack, skip, repeat or reorder layers, or that merge different models.
    """
    if not isinstance(node, Items) or not node.items:
        raise lines.error(node.line, "slices: expected a list of `- sources: …`.", _ONLY)
    slices: list[Slice] = []
    models: tuple[ModelRef, ...] = ()
    for position, item in enumerate(node.items):
        path: Path = ("slices", position)
        lines.mark(path, item.line)
        fields = _fields(item, ("sources", "parameters", "base_model", "residual_weight"), "slices", lines)
        if (residual := fields.get("residual_weight")) is not None:
            raise lines.error(
                residual.line, "residual_weight does nothing in mergekit, nor here.", "Leave it out."
            )
        own_base = fields.get("base_model")
        if own_base is not None:
            named = read_model(own_base, lines)
            if base is None and position == 0:
                base = named
                lines.mark(("base_model",), own_base.line)
            elif named != base:
                raise lines.error(own_base.line, "a slice may not have a base model of its own.", _ONLY)
        part, refs = _slice(fields, method, path, lines)
        expected = slices[-1].stop if slices else 0
        if part.first != expected:
            raise _stacked(
                f"this slice begins with layer {part.first}, expected {expected}", item.line, lines
            )
        if slices and set(refs) != set(models):
            raise _stacked("this slice merges other models than the first", item.line, lines)
        models = models or refs
        slices.append(part)
    return base, tuple(ModelEntry(ref) for ref in models), tuple(slices)


def _slice(
    fields: Fields, method: Method | None, path: Path, lines: Lines
) -> tuple[Slice, tuple[ModelRef, ...]]:
    sources = fields.get("sources")
    if not isinstance(sources, Items) or not sources.items:
        raise lines.error(
            fields.line,
            "this slice has no list of `sources`.",
            "Add `sources: [{model: …, layer_range: [0, 32]}]`.",
        )
    ranges: list[tuple[int, int]] = []
    own: dict[ModelRef, dict[str, Setting]] = {}
    for position, item in enumerate(sources.items):
        source = _fields(item, ("model", "layer_range", "parameters"), "sources", lines)
        model = source.get("model")
        if model is None:
            raise lines.error(item.line, "this source names no model.", "Add `model: path-or-Hub-id`.")
        ref = read_model(model, lines)
        if ref in own:
            raise lines.error(
                model.line, f"{shorten(str(ref))} is a source of this slice twice.", "Keep one of them."
            )
        inner = (*path, "sources", position)
        lines.mark(inner, item.line)
        lines.mark((*path, str(ref)), item.line)
        own[ref] = read_parameters(source.get("parameters"), method, (*path, str(ref)), lines)
        ranges.append(_layer_range(source, lines))
        if ranges[-1] != ranges[0]:
            raise _stacked("the sources of this slice are different layers", item.line, lines)
    parameters = read_parameters(fields.get("parameters"), method, path, lines)
    settled = {ref: settings for ref, settings in own.items() if settings}
    return Slice(*ranges[0], parameters, settled), tuple(own)


def _fields(node: Node, valid: tuple[str, ...], where: str, lines: Lines) -> Fields:
    if not isinstance(node, Fields):
        raise lines.error(node.line, f"{where}: each entry is a mapping, found {describe(node)}.")
    for key, _ in node.entries:
        if key.text not in valid:
            message = f"unknown key '{shorten(key.text)}' in an entry of `{where}`."
            lines.keep(lines.error(key.line, message, guidance.about_entry_key(key.text, valid)))
    return node


def _layer_range(source: Fields, lines: Lines) -> tuple[int, int]:
    node = source.get("layer_range")
    written = [item.value for item in node.items if isinstance(item, Text)] if isinstance(node, Items) else []
    whole = [number for number in written if isinstance(number, int) and not isinstance(number, bool)]
    if not isinstance(node, Items) or len(node.items) != 2 or len(whole) != 2 or not 0 <= whole[0] < whole[1]:
        raise lines.error(
            (node or source).line,
            "layer_range must be two whole numbers, the first layer and the one after the last.",
            "For example `layer_range: [0, 32]`.",
        )
    return whole[0], whole[1]


def _stacked(found: str, line: int, lines: Lines) -> UserError:
    return lines.error(
        line, f"these slices stack or rearrange layers, which Tiebreak does not do yet: {found}.", _ONLY
    )
