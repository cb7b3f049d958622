"""Whether a recipe makes sense, before anything is opened: the same checks for YAML and for controls."""

from __future__ import annotations

import math
from collections.abc import Iterator

from merge_core.methods import METHODS, Method, Parameter
from merge_core.recipe import guidance
from merge_core.recipe.lines import Lines, Path
from merge_core.recipe.model import Recipe, Settings
from merge_core.recipe.reference import ModelRef
from merge_core.recipe.resolve import Filtered, Setting, is_constant, values
from merge_core.recipe.ties_checks import check_ties
from merge_core.recipe.yaml_source import shorten


def check_recipe(recipe: Recipe) -> None:
    """Raise what in `recipe` cannot be merged.

    Raises:
        UserError: an unknown method or parameter, a value out of range, a missing base, a model twice, ….
    """
    lines = Lines("")
    gather(recipe, lines)
    lines.tell()


def gather(recipe: Recipe, lines: Lines) -> None:
    """Gather in `lines` what in `recipe` cannot be merged.

    Where reading it has gathered mistakes, something is missing from the recipe, and only what its parts say by
    themselves is checked: what they mean together would be found wrong for what is missing.
    """
    method = METHODS.get(recipe.method)
    if method is None:
        lines.keep(lines.error_at(("merge_method",), *guidance.about_method(recipe.method)))
        return
    whole = lines.sound
    unsound = [problem for level in levels(recipe) for problem in _settings(*level, method)]
    problems = [*_names(recipe, method), *_words(recipe), *unsound]
    if whole:
        problems += [*_missing(recipe, method), *_tokenizer(recipe)]
    if whole and not unsound:
        problems += [*_required(recipe, method), *_sums(recipe, method)]
        problems += check_ties(recipe) if method.name == "ties" else ()
    for problem in problems:
        lines.keep(lines.error_at(*problem))


Problem = tuple[Path, str, str]


def levels(recipe: Recipe) -> Iterator[tuple[Path, Settings, bool, str]]:
    """(path, settings, whether they are one model's, that model's name or "") of every `parameters:`."""
    for position, entry in enumerate(recipe.models):
        yield ("models", position), entry.parameters, True, str(entry.ref)
    for position, part in enumerate(recipe.slices):
        yield ("slices", position), part.parameters, False, ""
        for ref, settings in part.models.items():
            yield ("slices", position, str(ref)), settings, True, str(ref)
    yield ("parameters",), recipe.parameters, False, ""


def _missing(recipe: Recipe, method: Method) -> Iterator[Problem]:
    if recipe.base is None and method.space == "delta":
        yield (
            ("base_model",),
            f"{method.name} needs base_model, the model that the others were fine-tuned from.",
            "Add `base_model: path-or-Hub-id`, or choose linear, which needs none.",
        )
    if not recipe.models:
        yield ("models",), "no models to merge are listed.", "Add `- model: path-or-Hub-id` under `models:`."


def _names(recipe: Recipe, method: Method) -> Iterator[Problem]:
    seen: set[ModelRef] = set()
    for position, entry in enumerate(recipe.models):
        path: Path = ("models", position)
        if entry.ref in seen:
            yield (
                path,
                f"{shorten(str(entry.ref))} is listed twice.",
                "Keep one of them and give it the sum of the weights.",
            )
        if entry.ref == recipe.base and method.space == "delta":
            yield (
                path,
                f"{shorten(str(entry.ref))} is the base model.",
                "List only its fine-tunes under `models:`.",
            )
        seen.add(entry.ref)
        yield from _name(path, entry.ref)
    if recipe.base is not None:
        yield from _name(("base_model",), recipe.base)


def _name(path: Path, ref: ModelRef) -> Iterator[Problem]:
    parts = [ref.path, *(part for part in (ref.revision, ref.lora) if part is not None)]
    text = shorten(str(ref))
    if not all(part.strip() for part in parts):
        yield path, f"'{text}' lacks a part.", "A model is `path[@revision][+lora[@revision]]`."
    elif not all(part.isprintable() for part in parts):
        yield path, f"'{text}' holds characters that no model's name has.", "Type the name again."
    elif ref.path.startswith(("http://", "https://")):
        repository = "/".join(ref.path.split("/")[3:5])
        yield (
            path,
            f"'{text}' is a web address.",
            f"Write the Hub id: `{shorten(repository) or 'owner/name'}`.",
        )


def _words(recipe: Recipe) -> Iterator[Problem]:
    for key, name in (("dtype", recipe.dtype), ("out_dtype", recipe.out_dtype)):
        if name is not None and name not in guidance.DTYPES:
            yield (key,), f"{key} '{shorten(name)}' is not known.", guidance.about_dtype(name)
    for key, text in (("tokenizer_source", recipe.tokenizer_source), ("chat_template", recipe.chat_template)):
        if text is not None and not text.strip():
            yield (key,), f"{key} is empty.", "Leave it out, or say which."


def _tokenizer(recipe: Recipe) -> Iterator[Problem]:
    source = recipe.tokenizer_source
    if source == "base" and recipe.base is None:
        yield (
            ("tokenizer_source",),
            "tokenizer_source is `base`, and there is no base_model.",
            "Name a model instead.",
        )
    elif source and source not in guidance.TOKENIZER_CHOICES and ModelRef.parse(source) not in recipe.refs():
        known = ", ".join((*guidance.TOKENIZER_CHOICES, *(str(ref) for ref in recipe.refs())))
        yield (
            ("tokenizer_source",),
            f"tokenizer_source '{shorten(source)}' is none of the models.",
            f"Valid here: {shorten(known, 300)}.",
        )


def _settings(
    path: Path, settings: Settings, for_one_model: bool, owner: str, method: Method
) -> Iterator[Problem]:
    for name, setting in settings.items():
        here = (*path, name)
        prefix = f"{shorten(owner)}: " if owner else ""
        parameter = method.parameter(name)
        if parameter is None:
            message = f"{prefix}{method.name} has no parameter '{shorten(name)}'."
            yield here, message, guidance.about_parameter(name, method.name)
        elif for_one_model and not parameter.per_model:
            yield (
                here,
                f"{prefix}{name} holds for all models together, it cannot differ from model to model.",
                "Move it to the `parameters:` at the top level.",
            )
        else:
            yield from ((here, prefix + message, hint) for message, hint in _setting(parameter, setting))


def _setting(parameter: Parameter, setting: Setting) -> Iterator[tuple[str, str]]:
    if setting == ():
        yield f"{parameter.name}: the list is empty.", "Leave the parameter out, or give it a value."
        return
    if parameter.kind in ("choice", "bool") and any(isinstance(v, tuple) for v in _rule_values(setting)):
        yield (
            f"{parameter.name} takes one value, not a gradient.",
            f"Valid here: {parameter.describe_range()}.",
        )
        return
    if parameter.kind == "choice" and isinstance(setting, tuple):
        yield (
            f"{parameter.name} is one choice for the whole merge, without filters.",
            "Write the value alone.",
        )
        return
    for value in values(setting):
        finite = not isinstance(value, (int, float)) or math.isfinite(value)
        if not finite or not parameter.accepts(value):
            found = f"'{shorten(value)}'" if isinstance(value, str) else str(value).lower()
            hint = guidance.suggest(str(value), parameter.choices) if parameter.kind == "choice" else ""
            yield f"{parameter.name} must be {parameter.describe_range()}, found {found}.", hint
            return


def _rule_values(setting: Setting) -> tuple[object, ...]:
    if isinstance(setting, tuple) and isinstance(setting[0], Filtered):
        return tuple(rule.value for rule in setting if isinstance(rule, Filtered))
    return (setting,)


def _required(recipe: Recipe, method: Method) -> Iterator[Problem]:
    for parameter in method.parameters:
        name = parameter.name
        if not parameter.required or name in recipe.parameters or _excused(recipe, method, parameter):
            continue
        unless = ""
        if parameter.required_unless is not None:
            unless = f", or choose a dialect that takes none ({', '.join(parameter.required_unless[1])})"
        for position, entry in enumerate(recipe.models):
            path: Path = ("models", position)
            said = name in entry.parameters
            for number, part in enumerate(recipe.slices):
                said = name in part.parameters or name in part.models.get(entry.ref, {})
                if not said:
                    path = ("slices", number)
                    break
            if not said:
                hint = f"Add `parameters: {{{name}: 1}}` under it{unless}."
                yield path, f"{shorten(str(entry.ref))} has no {name}.", hint


def _excused(recipe: Recipe, method: Method, parameter: Parameter) -> bool:
    if parameter.required_unless is None:
        return False
    other, excusing = parameter.required_unless
    declared = method.parameter(other)
    return recipe.parameters.get(other, declared.default if declared else None) in excusing


def _sums(recipe: Recipe, method: Method) -> Iterator[Problem]:
    """Weights of a normalised average that cancel, where that can be told without tensor names."""
    weight, normalize = method.parameter("weight"), method.parameter("normalize")
    if method.space != "weight" or weight is None or normalize is None or recipe.slices:
        return
    written = [
        entry.parameters.get("weight", recipe.parameters.get("weight", 1.0)) for entry in recipe.models
    ]
    if not written or not all(is_constant(setting) for setting in written):
        return
    total = math.fsum(float(values(setting)[0]) for setting in written)
    if recipe.parameters.get("normalize", normalize.default) is True and abs(total) < 1e-8:
        yield (
            ("models",),
            f"the weights sum to {total:g}, and a normalised average divides by that.",
            "Change a weight, or set `normalize: false`.",
        )
