"""From text to pipelines: every mistake of every file at once, and nothing hostile gets far."""

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from fusionnode.errors import Misconfigured, PipelineInvalid
from fusionnode.pairing.select import find_unmet
from fusionnode.pipeline.parse import MAX_CHARACTERS, parse_pipeline, parse_pipelines
from fusionnode.pipeline.schema import Pipeline
from tests.support.series_headers import make_series

PIPELINES = Path(__file__).parents[2] / "pipelines"
MINIMAL = """\
name: {name}
version: "1.0"
fixed: {{modality: [MR]}}
moving: {{modality: [PT]}}
output: {{series_description: Fused}}
"""
GOOD = MINIMAL.format(name="mr-pt")


def list_mistakes(text: str | dict[str, str], **known: list[str]) -> list[str]:
    texts = {"a.yaml": text} if isinstance(text, str) else text
    with pytest.raises(PipelineInvalid) as caught:
        parse_pipelines(texts, **known)
    assert isinstance(caught.value, Misconfigured)
    mistakes = caught.value.facts["mistakes"]
    assert isinstance(mistakes, list)
    assert all(mistake in str(caught.value) for mistake in mistakes)
    return mistakes


def test_a_good_file_becomes_a_pipeline() -> None:
    assert parse_pipeline(GOOD, "a.yaml").identifier == "mr-pt@1.0"
    assert parse_pipelines({}) == ()


@given(
    window_days=st.floats(0, 3660),
    min_slices=st.integers(1, 500),
    weight=st.floats(0.001, 10),
    text=st.text(max_size=20),
)
def test_what_is_written_is_what_is_read(window_days: float, min_slices: int, weight: float, text: str) -> None:
    data = yaml.safe_load(GOOD)
    data["pairing"] = {"window_days": window_days}
    preference = {"attribute": "ImageType", "matches": "T1", "weight": weight, "because": text}
    data["fixed"] |= {"min_slices": min_slices, "prefer": [preference]}
    written = Pipeline.model_validate(data).model_dump(mode="json")
    assert parse_pipeline(yaml.safe_dump(written), "a.yaml") == Pipeline.model_validate(data)


@given(texts=st.dictionaries(st.sampled_from(["a.yaml", "b.yaml"]), st.text(max_size=60), min_size=1))
def test_any_text_at_all_is_reported_and_never_crashes(texts: dict[str, str]) -> None:
    # Sixty characters are fewer than the shortest valid pipeline has.
    mistakes = list_mistakes(texts)
    assert {mistake.split(":")[0] for mistake in mistakes} == set(texts)


def test_every_mistake_of_every_file_is_in_one_report() -> None:
    first = """\
nam: mr-pt
version: 1.0
fixed:
  modality: [MR, CT]
  where: [{attribute: ImageType}, {attribute: ImageType, matches: "("}]
moving: {modality: [PT]}
fusion: {model: laplacan, fixed_window: {low: 90, high: 10}}
output: {series_description: Fused}
destinations: [pacs, archive, pacs]
"""
    second = GOOD.replace("modality: [PT]", "modality: [PT, MR]")
    third = GOOD + "destinations: [pacs]\n"
    mistakes = list_mistakes(
        {"1.yaml": first, "2.yaml": second, "3.yaml": third},
        known_models=["laplacian", "mask-attention"],
        known_destinations=["pacs"],
    )
    for expected in (
        "1.yaml: nam: no such field, expected one of name, version",
        "1.yaml: name: missing",
        "1.yaml: version: found 1.0, expected text (in quotes",
        "1.yaml: fixed.modality[1]: found 'CT'",
        "1.yaml: fixed.where[0]: found",
        "1.yaml: fixed.where[1].matches: found '(', expected otherwise: not a regular expression",
        "1.yaml: fusion.fixed_window: found",
        "1.yaml: fusion.model: no fuser is called 'laplacan', expected one of laplacian, mask-attention (did you mean",
        "1.yaml: destinations: 'archive' is unknown, expected one of pacs",
        "1.yaml: destinations: 'pacs' is listed 2 times",
        "2.yaml: moving.modality: MR is also in fixed.modality",
        "3.yaml: name: 'mr-pt' is also the name in 2.yaml",
    ):
        assert [mistake for mistake in mistakes if mistake.startswith(expected)], (expected, mistakes)
    assert len(mistakes) == 12


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("fusion: {modle: x}", "a.yaml: fusion.modle: no such field, expected one of model"),
        ("pairing: {hold_hour: 1}", "(did you mean hold_hours?)"),
        ("registration: {where: [{attribute: ImageType, match: x}]}", "registration.where[0].match: no such field"),
    ],
)
def test_a_misspelt_field_is_named_with_its_path_and_neighbours(text: str, expected: str) -> None:
    assert any(expected in mistake for mistake in list_mistakes(f"{GOOD}{text}\n"))


def test_a_key_given_twice_is_a_mistake_at_every_depth() -> None:
    mistakes = list_mistakes(GOOD + "name: other\npairing:\n  window_days: 3\n  window_days: 30\n")
    assert [mistake.split(":")[1].strip() for mistake in mistakes] == ["name", "window_days"]
    assert all("more than once" in mistake for mistake in mistakes)


@pytest.mark.parametrize("text", ["", "# nothing\n", "[]", "just words", "42"])
def test_a_file_that_holds_no_fields_says_what_was_expected(text: str) -> None:
    (mistake,) = list_mistakes(text)
    assert "expected fields such as name, version" in mistake


@pytest.mark.parametrize(
    "text",
    [
        "a: &a [x]\nb: *a\n",
        "a: &a [x,x]\nb: &b [*a,*a]\nc: &c [*b,*b]\n",
        "[" * 5000,
        "{a: " * 5000,
        "a: !!python/object/apply:os.system [id]",
        "? [a]\n: b\n",
        "a: 1\n---\nb: 2\n",
        "\x00",
        "a: 'never closed",
        "a: 1\n\tb: 2",
    ],
)
def test_hostile_or_broken_yaml_is_one_mistake(text: str) -> None:
    (mistake,) = list_mistakes(text)
    assert mistake.startswith("a.yaml: not readable as YAML")
    assert len(mistake) < 600


def test_a_file_of_unreasonable_length_is_not_read() -> None:
    (mistake,) = list_mistakes(f"{GOOD}# {'x' * MAX_CHARACTERS}")
    assert f"at most {MAX_CHARACTERS}" in mistake


def test_a_long_value_is_shortened_in_the_report() -> None:
    (mistake,) = list_mistakes(f"{GOOD}summary: [{'x' * 5000}]\n")
    assert len(mistake) < 200


def test_a_date_is_text_and_not_a_crash() -> None:
    assert parse_pipeline(f"{GOOD}summary: 2024-13-45\n", "a.yaml").summary == "2024-13-45"


def test_the_default_fuser_is_checked_too() -> None:
    (mistake,) = list_mistakes(GOOD, known_models=[])
    assert "no fuser is called 'mask-attention', expected one of none" in mistake


def read_shipped() -> tuple[Pipeline, ...]:
    texts = {path.name: path.read_text(encoding="utf-8") for path in PIPELINES.glob("*.yaml")}
    return parse_pipelines(texts, known_destinations=["pacs"])


def test_the_shipped_pipelines_are_valid_and_say_they_are_not_for_diagnosis() -> None:
    shipped = read_shipped()
    assert [pipeline.name for pipeline in shipped] == ["mr-nm", "mr-pt"]
    assert all("not for primary diagnosis" in pipeline.output.series_description for pipeline in shipped)
    assert len({pipeline.output.series_number for pipeline in shipped}) == len(shipped)


@pytest.mark.parametrize(
    "description",
    ["FAST LOCALIZER", "loc", "3-pl loc", "AAHead_Scout", "Survey", "T/S/C PILOT", "Loc_aligned", "3 Plane"],
)
def test_the_shipped_pipelines_refuse_localizers(description: str) -> None:
    series = make_series("mri", attributes={"SeriesDescription": description})
    assert all("localizer" in find_unmet(pipeline.fixed.where, series) for pipeline in read_shipped())


@pytest.mark.parametrize(
    "image_type",
    [
        "ORIGINAL\\PRIMARY\\LOCALIZER",
        "DERIVED\\PRIMARY\\DIFFUSION\\ADC",
        "DERIVED\\PRIMARY\\MIP",
        "ORIGINAL\\PRIMARY\\M\\ND\\MOSAIC",
        "DERIVED\\SECONDARY\\PROJECTION IMAGE",
    ],
)
def test_the_shipped_pipelines_refuse_what_is_no_anatomy(image_type: str) -> None:
    series = make_series("mri", attributes={"ImageType": image_type})
    assert all(find_unmet(pipeline.fixed.where, series) for pipeline in read_shipped())


@pytest.mark.parametrize(
    "description",
    ["AX T1 SPGR", "T2 TSE AX", "ADNI_Sag3D MPRAGE", "SAG FLAIR CUBE", "T1 velocity", "BLOCK T1", "T1 post contrast"],
)
def test_the_shipped_pipelines_take_anatomy(description: str) -> None:
    attributes = {"SeriesDescription": description, "ImageType": "ORIGINAL\\PRIMARY\\M_FFE\\M\\FFE"}
    series = make_series("mri", attributes=attributes)
    assert [find_unmet(pipeline.fixed.where, series) for pipeline in read_shipped()] == ["", ""]


@pytest.mark.parametrize(
    ("name", "attributes", "fits"),
    [
        ("mr-pt", {"ImageType": "ORIGINAL\\PRIMARY", "SeriesType": "WHOLE BODY\\IMAGE"}, True),
        ("mr-pt", {"ImageType": "DERIVED\\SECONDARY", "SeriesDescription": "PET NAC"}, True),
        ("mr-pt", {"ImageType": "DERIVED\\SECONDARY\\MIP"}, False),
        ("mr-pt", {"SeriesType": "DYNAMIC\\IMAGE"}, False),
        ("mr-pt", {"SeriesDescription": "MIP"}, False),
        ("mr-pt", {"PhotometricInterpretation": "RGB"}, False),
        ("mr-nm", {"ImageType": "ORIGINAL\\PRIMARY\\RECON TOMO\\EMISSION"}, True),
        ("mr-nm", {"ImageType": "ORIGINAL\\PRIMARY\\RECON GATED TOMO\\EMISSION"}, False),
        ("mr-nm", {"ImageType": "ORIGINAL\\PRIMARY\\TOMO\\EMISSION"}, False),
        ("mr-nm", {"ImageType": "ORIGINAL\\PRIMARY\\STATIC\\EMISSION"}, False),
        ("mr-nm", {}, False),
    ],
)
def test_what_the_shipped_pipelines_move(name: str, attributes: dict[str, str], fits: bool) -> None:
    (pipeline,) = [one for one in read_shipped() if one.name == name]
    assert (find_unmet(pipeline.moving.where, make_series("moving", attributes=attributes)) == "") == fits
