"""A `parameters:` block → settings: scalars, gradients and filters."""

from __future__ import annotations

from merge_core.methods import Method, Parameter
from merge_core.recipe import guidance
from merge_core.recipe.lines import Lines, Path
from merge_core.recipe.resolve import Filtered, Gradient, Scalar, Setting
from merge_core.recipe.yaml_source import Fields, Items, Node, Text, describe, shorten


def read_parameters(node: Node | None, method: Method | None, path: Path, lines: Lines) -> dict[str, Setting]:
    """The settings under one `parameters:`; what changes no number is left out and noted.

    Args:
        method: None where the recipe names none that is known; then nothing can be said of its parameters.
        lines: gathers parameters the method does not have, and settings of no known form.
    """
    found: dict[str, Setting] = {}
    if node is None or method is None:
        return found
    with lines.gathering():
        if not isinstance(node, Fields):
            raise lines.error(node.line, f"parameters: expected 'name: value' lines, found {describe(node)}.")
        for key, value in node.entries:
            with lines.gathering():
                _read_parameter(key, value, method, path, lines, found)
    return found


def _read_parameter(
    key: Text, value: Node, method: Method, path: Path, lines: Lines, found: dict[str, Setting]
) -> None:
    parameter = method.parameter(key.text)
    if key.text in guidance.IGNORED_PARAMETERS:
        lines.note(key.line, f"{key.text} is set aside: {guidance.IGNORED_PARAMETERS[key.text]}.")
    elif parameter is None:
        raise lines.error(
            key.line,
            f"{method.name} has no parameter '{shorten(key.text)}'.",
            guidance.about_parameter(key.text, method.name),
        )
    else:
        lines.mark((*path, parameter.name), key.line)
        found[parameter.name] = _setting(parameter, value, lines)


def _setting(parameter: Parameter, node: Node, lines: Lines) -> Setting:
    if isinstance(node, Fields):
        return (_rule(parameter, node, lines),)
    if not isinstance(node, Items):
        return _scalar(parameter, node, lines)
    if not node.items:
        raise lines.error(node.line, f"{parameter.name}: the list is empty.", _forms(parameter))
    if any(isinstance(item, Fields) for item in node.items):
        return tuple(_rule(parameter, item, lines) for item in node.items)
    return _gradient(parameter, node, lines)


def _rule(parameter: Parameter, node: Node, lines: Lines) -> Filtered:
    if not isinstance(node, Fields):
        raise lines.error(
            node.line,
            f"{parameter.name}: a list is of numbers or of {{filter, value}}, not both; found {describe(node)}.",
            f"Write `- value: {node.text}`." if isinstance(node, Text) else _forms(parameter),
        )
    for key, _ in node.entries:
        if key.text not in ("value", "filter"):
            raise lines.error(
                key.line,
                f"{parameter.name}: unknown key '{shorten(key.text)}'.",
                guidance.suggest(key.text, ("filter", "value")),
            )
    value, chosen = node.get("value"), node.get("filter")
    if value is None:
        raise lines.error(node.line, f"{parameter.name}: this filter has no value.", _forms(parameter))
    if chosen is not None and not isinstance(chosen, Text):
        raise lines.error(
            chosen.line,
            f"{parameter.name}: a filter is a part of a tensor's name, found {describe(chosen)}.",
            "Write one {filter, value} for each.",
        )
    inner = (
        _gradient(parameter, value, lines) if isinstance(value, Items) else _scalar(parameter, value, lines)
    )
    return Filtered(inner, chosen.text if chosen is not None else None)


def _gradient(parameter: Parameter, node: Items, lines: Lines) -> Gradient:
    numbers: list[float] = []
    for item in node.items:
        value = _scalar(parameter, item, lines)
        if isinstance(value, (bool, str)):
            raise lines.error(item.line, f"{parameter.name} takes one value, not a list.", _forms(parameter))
        numbers.append(value)
    if not numbers:
        raise lines.error(node.line, f"{parameter.name}: the list is empty.", _forms(parameter))
    return tuple(numbers)


def _scalar(parameter: Parameter, node: Node, lines: Lines) -> Scalar:
    value = node.value if isinstance(node, Text) else None
    if parameter.kind == "bool" and not isinstance(value, str) and value in (0, 1):
        return bool(value)  # mergekit writes true as 1.0
    if parameter.kind == "choice" and isinstance(node, Text) and not node.is_null:
        return node.text
    if value is None or (isinstance(value, str) and parameter.kind != "choice"):
        raise lines.error(
            node.line,
            f"{parameter.name} must be {parameter.describe_range()}, found {describe(node)}.",
            _forms(parameter),
        )
    return value


def _forms(parameter: Parameter) -> str:
    if parameter.kind == "choice":
        return f"For example `{parameter.name}: {parameter.choices[0]}`."
    if parameter.kind == "bool":
        return f"For example `{parameter.name}: true`."
    return (
        f"A number (`{parameter.name}: 0.5`), a gradient over depth (`[0.2, 0.8]`) "
        "or rules (`[{filter: mlp, value: 0.5}, {value: 1}]`)."
    )
