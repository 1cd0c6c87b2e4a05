"""What a pipeline may say: strict, frozen, and nothing that could never take effect."""

import re
from typing import Any

import pytest
from pydantic import ValidationError

from fusionnode.domain.series import DERIVED_ATTRIBUTES, INDEXED_ATTRIBUTES
from fusionnode.pipeline.schema import (
    Condition,
    Fusion,
    Output,
    Pairing,
    PercentileWindow,
    Pipeline,
    Preference,
    Registration,
    SeriesRule,
    SuvWindow,
    UptakeWindow,
)

MINIMAL: dict[str, Any] = {
    "name": "mr-pt",
    "version": "1.0",
    "fixed": {"modality": ["MR"]},
    "moving": {"modality": ["PT"]},
    "output": {"series_description": "Fused"},
}


def test_a_minimal_pipeline_has_safe_defaults() -> None:
    pipeline = Pipeline.model_validate(MINIMAL)
    assert pipeline.identifier == "mr-pt@1.0"
    assert pipeline.destinations == ()
    assert pipeline.registration == Registration()
    assert pipeline.fusion == Fusion()


@pytest.mark.parametrize("field", ["host", "port", "path", "password", "ae_title"])
def test_a_pipeline_knows_no_hosts_ports_paths_or_secrets(field: str) -> None:
    with pytest.raises(ValidationError, match="extra_forbidden"):
        Pipeline.model_validate({**MINIMAL, field: "x"})


def test_a_pipeline_cannot_be_changed() -> None:
    pipeline = Pipeline.model_validate(MINIMAL)
    with pytest.raises(ValidationError, match="frozen"):
        pipeline.name = "other"


@pytest.mark.parametrize("name", ["", "MR-PT", "mr_pt", "-mr", "mr-", "mr--pt", "../mr", "mr pt", "a" * 49])
def test_names_that_could_not_be_a_path_or_a_tag_are_refused(name: str) -> None:
    with pytest.raises(ValidationError):
        Pipeline.model_validate({**MINIMAL, "name": name})


def test_a_condition_needs_a_test() -> None:
    with pytest.raises(ValidationError, match="needs `matches`, `excludes` or `excludes_if_all`"):
        Condition(attribute="ImageType")


@pytest.mark.parametrize("expression", ["(", "[a", "*", "(?P<n>a)(?P<n>b)"])
@pytest.mark.parametrize("field", ["matches", "excludes"])
def test_a_bad_regular_expression_is_refused(expression: str, field: str) -> None:
    with pytest.raises(ValidationError, match="not a regular expression"):
        Condition.model_validate({"attribute": "ImageType", field: expression})


@pytest.mark.parametrize("attribute", ["PatientName", "PatientID", "imagetype", "", "Imagetype"])
def test_an_attribute_that_is_not_indexed_is_refused(attribute: str) -> None:
    assert attribute not in INDEXED_ATTRIBUTES
    with pytest.raises(ValidationError, match="not an indexed attribute"):
        Condition(attribute=attribute, matches="x")


@pytest.mark.parametrize("attribute", sorted(DERIVED_ATTRIBUTES))
def test_what_is_told_from_the_geometry_can_be_asked_for(attribute: str) -> None:
    assert attribute not in INDEXED_ATTRIBUTES
    assert Condition(attribute=attribute, matches="x").attribute == attribute


@pytest.mark.parametrize("day_weight", [-0.1, 1.1, float("nan")])
def test_days_never_cost_more_than_a_link_is_worth(day_weight: float) -> None:
    with pytest.raises(ValidationError):
        Pairing(day_weight=day_weight)


@pytest.mark.parametrize("weight", [0, -1, 10.5, float("nan"), float("inf")])
def test_weights_stay_within_what_a_link_outweighs(weight: float) -> None:
    with pytest.raises(ValidationError):
        Preference(attribute="ImageType", matches="x", weight=weight)


@pytest.mark.parametrize(("low", "high"), [(50, 50), (60, 40)])
def test_a_window_has_an_extent(low: float, high: float) -> None:
    with pytest.raises(ValidationError, match="`low` must lie below `high`"):
        PercentileWindow(low=low, high=high)


@pytest.mark.parametrize("window_days", [-1, float("inf"), float("nan"), 1e9])
def test_time_windows_are_finite(window_days: float) -> None:
    with pytest.raises(ValidationError):
        Pairing(window_days=window_days)


@pytest.mark.parametrize("modality", [[], ["CT"], ["MR", "CT"]])
def test_only_modalities_that_can_be_fused(modality: list[str]) -> None:
    with pytest.raises(ValidationError):
        SeriesRule.model_validate({"modality": modality})


@pytest.mark.parametrize("text", ["", "Fusión", "a\\b", "a\nb", "x" * 65])
def test_a_description_is_valid_under_every_character_set(text: str) -> None:
    with pytest.raises(ValidationError):
        Output(series_description=text)


def test_punctuation_is_allowed_in_a_description() -> None:
    text = "Fused MR+PET [v1] (not for primary diagnosis) ~ 100%"
    assert Output(series_description=text).series_description == text


def test_a_floor_in_suv_belongs_to_the_moving_window_alone() -> None:
    fusion = Fusion.model_validate({"moving_window": {"high": 99.0, "floor_suv": 5.0}})
    assert (fusion.moving_window.high, fusion.moving_window.floor_suv) == (99.0, 5.0)
    assert Fusion().moving_window.floor_suv == 0
    with pytest.raises(ValidationError, match="extra_forbidden"):
        Fusion.model_validate({"fixed_window": {"floor_suv": 5.0}})
    with pytest.raises(ValidationError, match="greater_than_equal"):
        Fusion.model_validate({"moving_window": {"floor_suv": -1.0}})


def test_without_options_nothing_but_the_plain_fused_series_is_written() -> None:
    output = Output(series_description="Fused")
    assert (output.compression, output.grid, output.sheet) == ("none", "mri", "none")
    assert not any((output.multiframe, output.colour_bar, output.resampled, output.blending))


def test_name_and_version_together_fit_a_long_string() -> None:
    longest = {**MINIMAL, "name": "n" * 48, "version": "1" * 15}
    assert len(Pipeline.model_validate(longest).identifier) == 64  # as Software Versions (LO) of what was made
    with pytest.raises(ValidationError, match="version"):
        Pipeline.model_validate({**MINIMAL, "version": "1" * 16})


def edit(**changes: dict[str, object]) -> str:
    data = {**MINIMAL, **{name: {**MINIMAL.get(name, {}), **values} for name, values in changes.items()}}
    return Pipeline.model_validate(data).edition


def test_an_edition_is_told_by_the_version_and_what_is_made_of_a_pair() -> None:
    plain = edit()
    assert re.fullmatch(r"1\.0\+[0-9a-f]{12}", plain)
    changes: list[dict[str, dict[str, object]]] = [
        *({"output": {name: value}} for name, value in (("compression", "rle"), ("opacity", 0.4), ("resampled", True))),
        *({"fusion": {name: value}} for name, value in (("palette", "PET"), ("model", "laplacian"))),
        {"fusion": {"fixed_window": {"low": 0.0, "high": 99.8}}},
        {"registration": {"doubt": "warn"}},
    ]
    editions = [edit(**one) for one in changes]
    assert len({plain, *editions}) == len(editions) + 1


def test_an_edition_is_the_same_whatever_the_spelling_and_whoever_gets_the_result() -> None:
    window = {"low": 1, "high": 99.5}
    spelled = edit(output={"compression": "none", "series_number": 9001}, fusion={"fixed_window": window})
    assert spelled == edit(pairing={"hold_hours": 3}) == edit()
    assert Pipeline.model_validate({**MINIMAL, "destinations": ["pacs"], "summary": "words"}).edition == edit()


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *(("compression", "jpeg"), ("grid", "pet"), ("sheet", "html"), ("resampled", "maybe"), ("blending", 2)),
        *(("opacity", 0), ("opacity", 1), ("opacity", -0.5), ("opacity", float("nan"))),
    ],
)
def test_an_option_that_does_not_exist_is_a_mistake(option: str, value: object) -> None:
    with pytest.raises(ValidationError, match=option):
        Output.model_validate({"series_description": "Fused", option: value})


@pytest.mark.parametrize("limits", [{"low": 3, "high": 3}, {"low": -1, "high": 3}, {"low": 0}, {"high": 0}])
def test_a_window_in_suv_has_an_extent_above_zero(limits: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        UptakeWindow.model_validate({"suv": limits})
    assert UptakeWindow.model_validate({"suv": {"high": 8}}).suv == SuvWindow(low=0, high=8)
