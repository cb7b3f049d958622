"""mergekit's YAML → `Recipe`. Every key is checked here; what the values mean together, in `checks`."""

from __future__ import annotations

import pathlib

from merge_core.errors import UserError
from merge_core.methods import METHODS, Method
from merge_core.recipe import guidance
from merge_core.recipe.checks import gather
from merge_core.recipe.layer_slices import read_slices
from merge_core.recipe.lines import Lines, Path
from merge_core.recipe.model import ModelEntry, Recipe, Slice
from merge_core.recipe.model_names import read_model
from merge_core.recipe.settings import read_parameters
from merge_core.recipe.yaml_source import LONGEST, Fields, Items, Node, Text, describe, parse_yaml, shorten


def load_recipe(path: str | pathlib.Path) -> Recipe:
    """The recipe in a file.

    Raises:
        UserError: the file cannot be read, or see `read_recipe`.
    """
    file = pathlib.Path(path)
    try:
        with file.open("rb") as stream:
            raw = stream.read(4 * LONGEST + 1)
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise UserError(f"{file} is not UTF-8 text.", "Is it a recipe?") from None
    except (OSError, ValueError) as failure:
        reason = getattr(failure, "strerror", None) or "not a file name"
        raise UserError(f"{file} cannot be read: {reason}.", "Check the path.") from None
    return read_recipe(text, str(file))


def read_recipe(text: str, source: str = "recipe") -> Recipe:
    """The recipe that mergekit's YAML describes.

    Args:
        text: YAML.
        source: what errors call it, usually a file name.

    Raises:
        UserError: what is wrong in it, each mistake with its line and what would be valid. Nothing has been opened.
    """
    root = parse_yaml(text, source)
    lines = Lines(source)
    recipe = _read(root, lines)
    if recipe is not None:
        gather(recipe, lines)
    lines.tell()
    assert recipe is not None  # it would have been told why there is none
    return recipe


def _read(root: Fields, lines: Lines) -> Recipe | None:
    """The recipe without what is wrong in it; None where its method is not known. Mistakes are gathered."""
    _check_top_keys(root, lines)
    method = base_ref = dtype = out_dtype = tokenizer = template = None
    models: tuple[ModelEntry, ...] = ()
    slices: tuple[Slice, ...] = ()
    with lines.gathering():
        method = _method(root, lines)
    with lines.gathering():
        base = root.get("base_model")
        if base is not None:
            lines.mark(("base_model",), base.line)
            base_ref = read_model(base, lines)
    with lines.gathering():
        if (listed := root.get("models")) is not None:
            models = _models(listed, method, lines)
        elif (listed := root.get("slices")) is not None:
            base_ref, models, slices = read_slices(listed, method, base_ref, lines)
    parameters = read_parameters(root.get("parameters"), method, ("parameters",), lines)
    with lines.gathering():
        dtype = _dtype(root, "dtype", lines)
    with lines.gathering():
        out_dtype = _dtype(root, "out_dtype", lines)
    with lines.gathering():
        tokenizer = _tokenizer(root, lines)
    with lines.gathering():
        template = _word(root, "chat_template", lines)
    if method is None:
        return None
    if method.space == "delta" and any(entry.ref == base_ref for entry in models):
        models = tuple(entry for entry in models if entry.ref != base_ref)
        lines.notes.append(
            f"{base_ref} is the base and listed among the models too: it is taken as the base only."
        )
    notes = tuple(lines.notes)
    return Recipe(
        method=method.name,
        base=base_ref,
        models=models,
        parameters=parameters,
        dtype=dtype,
        out_dtype=out_dtype,
        tokenizer_source=tokenizer,
        chat_template=template,
        slices=slices,
        notes=notes,
    )


def _check_top_keys(root: Fields, lines: Lines) -> None:
    def wrong(line: int, message: str, hint: str) -> None:
        lines.keep(lines.error(line, message, hint))

    unknown = [key.text for key, _ in root.entries if key.text not in guidance.TOP_KEYS]
    for key, _ in root.entries:
        lines.mark((key.text,), key.line)
        if key.text in guidance.IGNORED_TOP_KEYS:
            lines.note(key.line, f"{key.text} is set aside: {guidance.IGNORED_TOP_KEYS[key.text]}.")
        elif key.text not in guidance.TOP_KEYS:
            wrong(key.line, f"unknown key '{shorten(key.text)}'.", guidance.about_top_key(key.text))
        elif key.text == "modules" and root.get("modules") is not None:
            wrong(
                key.line,
                "`modules` merges parts of a model by different rules, which Tiebreak does not do yet.",
                "List whole models under `models:`; filters on a parameter can tell parts of them apart.",
            )
    given = [key for key in ("models", "slices") if root.get(key) is not None]
    if len(given) == 2:
        second = max((root.get(key) for key in given), key=lambda node: node.line if node else 0)
        wrong(second.line if second else 1, "both `models` and `slices` are given.", "Keep one of them.")
    meant = {guidance.nearest(key, guidance.TOP_KEYS) for key in unknown}  # misspelt, not missing
    if not given and root.get("modules") is None and "models" not in meant:
        hint = "Add `models:` with one `- model: path-or-Hub-id` for each model."
        wrong(root.line, "no models are listed.", hint)
    if root.get("merge_method") is None and "merge_method" not in meant:
        wrong(
            root.line,
            "`merge_method` is missing.",
            f"Add for example `merge_method: ties`; Tiebreak has: {', '.join(METHODS)}.",
        )


def _method(root: Fields, lines: Lines) -> Method | None:
    node = root.get("merge_method")
    if node is None:
        return None
    if not isinstance(node, Text):
        raise lines.error(node.line, f"merge_method: expected a name, found {describe(node)}.")
    if node.text not in METHODS:
        raise lines.error(node.line, *guidance.about_method(node.text))
    return METHODS[node.text]


def _models(node: Node, method: Method | None, lines: Lines) -> tuple[ModelEntry, ...]:
    if not isinstance(node, Items):
        raise lines.error(
            node.line,
            f"models: expected a list, found {describe(node)}.",
            "Write one `- model: …` line for each model.",
        )
    entries = []
    for position, item in enumerate(node.items):
        lines.mark(("models", position), item.line)
        with lines.gathering():
            entries.append(_entry(item, method, ("models", position), lines))
    return tuple(entries)


def _entry(item: Node, method: Method | None, path: Path, lines: Lines) -> ModelEntry:
    if not isinstance(item, Fields):
        raise lines.error(
            item.line,
            f"models: each entry is a mapping with the key `model`, found {describe(item)}.",
            f"Write `- model: {shorten(item.text)}`." if isinstance(item, Text) else "",
        )
    for key, _ in item.entries:
        if key.text not in ("model", "parameters"):
            message = f"unknown key '{shorten(key.text)}' in an entry of `models`."
            hint = guidance.about_entry_key(key.text, ("model", "parameters"))
            lines.keep(lines.error(key.line, message, hint))
    parameters = read_parameters(item.get("parameters"), method, path, lines)
    model = item.get("model")
    if model is None:
        raise lines.error(item.line, "this entry of `models` names no model.", "Add `model: path-or-Hub-id`.")
    return ModelEntry(read_model(model, lines), parameters)


def _word(root: Fields, key: str, lines: Lines) -> str | None:
    node = root.get(key)
    if node is not None and not isinstance(node, Text):
        raise lines.error(node.line, f"{key}: expected text, found {describe(node)}.")
    return node.text if node is not None else None


def _dtype(root: Fields, key: str, lines: Lines) -> str | None:
    name = _word(root, key, lines)
    return name.removeprefix("torch.") if name is not None else None


def _tokenizer(root: Fields, lines: Lines) -> str | None:
    node = root.get("tokenizer")
    named = root.get("tokenizer_source")
    if node is None:
        return _tokenizer_source(named, lines)
    if named is not None:
        raise lines.error(
            max(node.line, named.line), "both tokenizer and tokenizer_source are given.", "Keep one of them."
        )
    if not isinstance(node, Fields):
        raise lines.error(
            node.line,
            f"tokenizer: expected `source: …` below it, found {describe(node)}.",
            "Or write tokenizer_source: …",
        )
    for key, value in node.entries:
        if key.text not in ("source", "tokens", "pad_to_multiple_of"):
            raise lines.error(
                key.line,
                f"tokenizer: unknown key '{shorten(key.text)}'.",
                guidance.suggest(key.text, ("source", "tokens", "pad_to_multiple_of")),
            )
        if key.text != "source" and node.get(key.text) is not None and value != Fields((), value.line):
            raise lines.error(
                key.line,
                f"tokenizer: `{key.text}` changes the embeddings, which Tiebreak does not do yet.",
                "Leave it out, and merge models that share one vocabulary.",
            )
    return _tokenizer_source(node.get("source"), lines) or "union"  # mergekit's default within `tokenizer:`


def _tokenizer_source(node: Node | None, lines: Lines) -> str | None:
    if node is None:
        return None
    if isinstance(node, Text) and node.text in guidance.TOKENIZER_CHOICES:
        return node.text
    return str(read_model(node, lines))
