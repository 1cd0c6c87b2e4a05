"""From the text of pipeline files to pipelines, or to one report of everything wrong in any of them (pure)."""

import difflib
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from fusionnode.errors import PipelineInvalid
from fusionnode.pipeline.schema import Fusion, Pipeline

MAX_CHARACTERS = 65_536
"""A pipeline file is a page; anything longer is not one."""
MAX_DEPTH = 16
"""Deeper nesting than any pipeline needs; bounds the recursion of the YAML composer."""


def parse_pipeline(
    text: str,
    origin: str,
    *,
    known_models: Collection[str] | None = None,
    known_destinations: Collection[str] | None = None,
) -> Pipeline:
    """Read one pipeline from the YAML ``text`` of the file called ``origin``.

    Args:
        text: YAML without anchors or aliases, at most `MAX_CHARACTERS` long.
        origin: the file name, for messages.
        known_models: fuser names ``fusion.model`` may have; None leaves them unchecked.
        known_destinations: names ``destinations`` may hold; None leaves them unchecked.

    Raises:
        PipelineInvalid: ``facts['mistakes']`` lists every mistake as ``origin: field.path: what, expected``.
    """
    (pipeline,) = parse_pipelines({origin: text}, known_models=known_models, known_destinations=known_destinations)
    return pipeline


def parse_pipelines(
    texts: Mapping[str, str],
    *,
    known_models: Collection[str] | None = None,
    known_destinations: Collection[str] | None = None,
) -> tuple[Pipeline, ...]:
    """Read every file of ``texts`` (file name → YAML) and return the pipelines ordered by file name.

    Raises:
        PipelineInvalid: one report of every mistake of every file; see `parse_pipeline`.
    """
    readings = [_read_file(texts[origin], origin) for origin in sorted(texts)]
    for reading in readings:
        _check_modalities(reading)
        _check_model(reading, known_models)
        _check_destinations(reading, known_destinations)
    _check_names(readings)
    mistakes = [mistake for reading in readings for mistake in reading.mistakes]
    if mistakes:
        raise PipelineInvalid(
            f"{len(mistakes)} mistake(s) in the pipeline files:\n" + "\n".join(f"  {line}" for line in mistakes) + "\n",
            remedy="Correct the files and run `fusionnode check`.",
            mistakes=mistakes,
        )
    return tuple(reading.pipeline for reading in readings if reading.pipeline is not None)


@dataclass
class _Reading:
    """What came out of one file. ``data`` is kept so that cross-checks also run on a file with other mistakes."""

    origin: str
    data: dict[str, Any] = field(default_factory=dict)
    pipeline: Pipeline | None = None
    mistakes: list[str] = field(default_factory=list)

    def note(self, path: str, what: str) -> None:
        self.mistakes.append(f"{self.origin}: {path}: {what}" if path else f"{self.origin}: {what}")


def _read_file(text: str, origin: str) -> _Reading:
    reading = _Reading(origin)
    data = _load_yaml(text, reading)
    if reading.mistakes and data is None:
        return reading
    if not isinstance(data, dict):
        found = "nothing" if data is None else type(data).__name__
        reading.note("", f"found {found}, expected fields such as {', '.join(list(Pipeline.model_fields)[:5])}")
        return reading
    reading.data = data
    try:
        reading.pipeline = Pipeline.model_validate(data)
    except ValidationError as error:
        for details in error.errors(include_url=False):
            reading.note(_spell_path(details["loc"]), _explain_error(details))
    return reading


class _StrictLoader(yaml.SafeLoader):
    """Safe YAML without aliases, timestamps or deep nesting, that remembers duplicate keys instead of losing them."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.duplicates: list[tuple[str, int]] = []
        self._depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.composer.ComposerError(None, None, "found an alias, expected the value written out")
        if self._depth >= MAX_DEPTH:
            self._refuse(f"nested deeper than {MAX_DEPTH} levels")
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def _refuse(self, problem: str) -> None:
        mark: Any = self.peek_event().start_mark  # type: ignore[no-untyped-call]
        raise yaml.composer.ComposerError(None, None, problem, mark)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = Counter(key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode))
        self.duplicates += [(name, node.start_mark.line + 1) for name, count in keys.items() if count > 1]
        return super().construct_mapping(node, deep=deep)


_StrictLoader.yaml_implicit_resolvers = {
    first: [(tag, expression) for tag, expression in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _load_yaml(text: str, reading: _Reading) -> Any:
    if len(text) > MAX_CHARACTERS:
        reading.note("", f"{len(text)} characters long, expected at most {MAX_CHARACTERS}")
        return None
    try:
        loader = _StrictLoader(text)
        data = loader.get_single_data()
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        reading.note("", f"not readable as YAML, {' '.join(str(error).split())}")
        return None
    for name, line in loader.duplicates:
        reading.note(name, f"given more than once in the block that starts in line {line}, expected once")
    return data


def _spell_path(location: tuple[int | str, ...]) -> str:
    path = ""
    for part in location:
        path += f"[{part}]" if isinstance(part, int) else f".{part}"
    return path.removeprefix(".")


def _explain_error(details: ErrorDetails) -> str:
    found = repr(details["input"])
    found = found if len(found) <= 60 else f"{found[:57]}..."
    match details["type"]:
        case "extra_forbidden":
            name, fields = str(details["loc"][-1]), _list_fields(details["loc"][:-1])
            return f"no such field, expected one of {', '.join(fields)}{_suggest(name, fields)}"
        case "missing":
            return "missing, expected a value"
        case "value_error":
            return f"found {found}, expected otherwise: {details['msg'].removeprefix('Value error, ')}"
        case "string_type":
            return f"found {found}, expected text (in quotes where it looks like a number)"
    return f"found {found}, expected otherwise: {details['msg'][:1].lower()}{details['msg'][1:]}"


def _list_fields(location: tuple[int | str, ...]) -> list[str]:
    """Return the fields of the model that ``location`` leads to, starting from `Pipeline`."""
    model: type[BaseModel] = Pipeline
    for part in location:
        if isinstance(part, str):
            annotation = model.model_fields[part].annotation
            model = next(kind for kind in (annotation, *get_args(annotation)) if _is_model(kind))
    return list(model.model_fields)


def _is_model(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _suggest(name: str, known: Collection[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f" (did you mean {near[0]}?)" if near else ""


def _dig(data: object, *path: str) -> Any:
    """Follow ``path`` through nested mappings; None as soon as it leads nowhere."""
    for part in path:
        data = data.get(part) if isinstance(data, dict) else None
    return data


def _list_texts(value: object) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def _check_modalities(reading: _Reading) -> None:
    fixed = _list_texts(_dig(reading.data, "fixed", "modality"))
    moving = _list_texts(_dig(reading.data, "moving", "modality"))
    if both := sorted(set(fixed) & set(moving)):
        reading.note("moving.modality", f"{', '.join(both)} is also in fixed.modality, expected no overlap")


def _check_model(reading: _Reading, known: Collection[str] | None) -> None:
    model = _dig(reading.data, "fusion", "model") or Fusion().model
    if known is not None and reading.data and isinstance(model, str) and model not in known:
        expected = ", ".join(sorted(known)) or "none: no fuser is installed"
        reading.note(
            "fusion.model", f"no fuser is called {model!r}, expected one of {expected}{_suggest(model, known)}"
        )


def _check_destinations(reading: _Reading, known: Collection[str] | None) -> None:
    names = _list_texts(_dig(reading.data, "destinations"))
    for name, count in Counter(names).items():
        if count > 1:
            reading.note("destinations", f"{name!r} is listed {count} times, expected once")
        if known is not None and name not in known:
            expected = ", ".join(sorted(known)) or "none: the site file names no destination"
            reading.note("destinations", f"{name!r} is unknown, expected one of {expected}{_suggest(name, known)}")


def _check_names(readings: list[_Reading]) -> None:
    first: dict[str, str] = {}
    for reading in readings:
        name = reading.data.get("name")
        if isinstance(name, str) and first.setdefault(name, reading.origin) != reading.origin:
            reading.note("name", f"{name!r} is also the name in {first[name]}, expected one file per name")
