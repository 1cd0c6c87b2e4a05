import math
import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusionnode.capture.describe import (
    NOT_DIAGNOSTIC,
    describe_comments,
    describe_derivation,
    describe_ends,
    describe_limits,
    describe_motion,
    describe_motion_briefly,
    describe_resampled,
    describe_resampling,
    describe_series,
    spell_share,
)
from fusionnode.capture.identity import FusedIdentity
from fusionnode.domain.images import Window
from fusionnode.domain.terms import Unit
from tests.support.captures import carry, make_job, make_motion, make_pipeline, make_request, make_scene, reformat

_PREPARED = make_request().prepared


@given(st.text(max_size=200))
def test_series_description_fits_any_character_set_and_always_warns(text: str) -> None:
    description = describe_series(text)
    assert len(description) <= 64
    assert NOT_DIAGNOSTIC in description.lower()
    assert "fused" in description.lower()
    assert description.isascii()
    assert description.isprintable()
    assert "\\" not in description


def test_words_that_already_warn_are_kept_as_they_are() -> None:
    words = "FDG on T1, fused, NOT FOR PRIMARY DIAGNOSIS"
    assert describe_series(words) == words


def test_long_words_give_way_to_the_warning_at_a_blank() -> None:
    assert describe_series("Hirn übergroß mit sehr langem Namen") == (
        "Hirn ubergross mit - fused display, not for primary diagnosis"
    )


@given(st.text(max_size=3000))
def test_derivation_never_exceeds_a_short_text(text: str) -> None:
    description = describe_derivation(_PREPARED, text, make_pipeline(), "0.1.0")
    assert len(description) <= 1024
    assert description.isascii()
    assert "\\" not in description


def test_derivation_names_model_transform_quality_pipeline_and_software() -> None:
    description = describe_derivation(_PREPARED, "laplacian@1.0", make_pipeline(), "0.1.0")
    for fact in ("laplacian@1.0", "brain-pet@1.2", "fusionnode 0.1.0", "rotation 12.00 deg", "overlap 0.87"):
        assert fact in description
    assert "mutual information 0.6123 nats (0.3101 before)" in description
    assert "0 to 8.25 SUVbw" in description


def test_a_shared_frame_claims_no_figures_that_were_never_measured() -> None:
    prepared = make_request(make_scene(shared=True)).prepared
    assert math.isnan(prepared.estimate.information)
    assert "nan" not in describe_motion(prepared)
    assert "centres" not in describe_motion(prepared)
    assert describe_motion(prepared).startswith("Transform: shared frame of reference, rotation 0.00 deg")


@given(st.floats(0, 90), st.tuples(*[st.floats(-500, 500)] * 3))
def test_the_displacement_told_is_that_of_the_centre_of_the_mri(
    angle: float, shift: tuple[float, float, float]
) -> None:
    motion = make_motion(angle, shift)
    prepared = replace(_PREPARED, estimate=replace(_PREPARED.estimate, motion=motion, centre_distance_mm=1.25))
    centre_mm = carry(_PREPARED.grid.centre_mm[None], np.eye(4))
    moved_mm = float(np.linalg.norm(carry(centre_mm, motion.moving_from_fixed) - centre_mm))
    told = [describe_motion(prepared), describe_motion_briefly(prepared)]
    found = [float(re.search(r"([\d.]+) mm at the", text)[1]) for text in told]  # type: ignore[index]
    assert found == pytest.approx([moved_mm, moved_mm], abs=0.0051)
    assert "heads' centres 1.25 mm apart after the motion" in told[0]


def test_the_brief_motion_fits_a_long_string() -> None:
    far = make_motion(12.0, (100_000.0, 70_000.0, -20_000.0))
    words = describe_motion_briefly(replace(_PREPARED, estimate=replace(_PREPARED.estimate, motion=far)))
    assert re.fullmatch(r"12\.00 deg, 12\d{4}\.\d\d mm at the MRI's centre, overlap 0\.87", words)
    assert len(words) <= 64


@pytest.mark.parametrize(
    ("share", "words"),
    [(0.0, "does not reach this slice"), (0.5, "covers 50 % of this slice"), (0.001, "covers 1 %"), (0.999, "99 %")],
)
def test_comments_say_where_the_functional_series_ends(share: float, words: str) -> None:
    covered = np.zeros((2, 10, 100), np.bool_)
    covered[1].flat[: round(share * 1000)] = True
    comments = describe_comments(make_job(), replace(_PREPARED, covered=covered), 1, "")
    assert words in comments
    assert NOT_DIAGNOSTIC in comments


def test_comments_of_a_covered_slice_do_not_speak_of_coverage() -> None:
    assert "this slice" not in describe_comments(make_job(), _PREPARED, 0, "")


def test_comments_name_the_series_they_supersede() -> None:
    earlier = "00112233445566778899aabb"
    assert FusedIdentity(earlier).series_uid in describe_comments(make_job(supersedes=earlier), _PREPARED, 0, "")
    assert "Supersedes" not in describe_comments(make_job(), _PREPARED, 0, "")
    assert "Supersedes series 1.2.3," in describe_comments(make_job(supersedes="1.2.3"), _PREPARED, 0, "")


def test_comments_carry_every_warning() -> None:
    estimate = replace(_PREPARED.estimate, warnings=("Little overlap.",))
    comments = describe_comments(make_job(), replace(_PREPARED, estimate=estimate, notes=("No dose.",)), 0, "")
    assert "Little overlap." in comments
    assert "No dose." in comments


def test_comments_tell_what_is_shown_and_when_it_was_taken() -> None:
    comments = describe_comments(
        make_job(), _PREPARED, 0, "Functional series acquired 2024-03-08, 2 days after the MRI."
    )
    assert "Uptake shown 0 to 8.25 SUVbw." in comments
    assert "acquired 2024-03-08, 2 days after the MRI." in comments


@given(st.text(max_size=20000))
def test_comments_never_exceed_a_long_text_and_begin_with_the_notice(text: str) -> None:
    comments = describe_comments(make_job(), replace(_PREPARED, notes=(text,)), 0, "")
    assert len(comments) <= 10240
    assert comments.startswith(f"Fused display image, {NOT_DIAGNOSTIC}.")


@pytest.mark.parametrize(
    ("high", "words"),
    [(7.2345, "0 to 7.23 arbitrary"), (0.00712, "0 to 0.00712 arbitrary"), (15321.7, "0 to 15322 arbitrary")],
)
def test_limits_have_as_many_digits_as_a_reader_wants(high: float, words: str) -> None:
    assert describe_limits(Window(0.0, high, Unit.ARBITRARY)) == words


def test_a_reformat_and_a_burned_in_bar_are_told() -> None:
    request = reformat(make_request())
    words = describe_derivation(request.prepared, "laplacian@1.0", request.pipeline, "0.1.0")
    assert "both resampled to cubes of 1 mm" in words
    assert "MRI slice" not in words
    barred, plain = (describe_comments(make_job(), _PREPARED, 0, "", bar=bar) for bar in (True, False))
    assert "colour bar is burned" in barred
    assert "colour bar" not in plain


def test_the_coverage_of_all_slices_together_is_that_of_the_volume() -> None:
    covered = np.zeros_like(_PREPARED.covered)
    covered[:1] = True
    comments = describe_comments(make_job(), replace(_PREPARED, covered=covered), None, "")
    assert f"covers {round(100 / len(covered))} % of this volume" in comments


def test_a_resampled_series_says_that_its_values_hold_and_its_peaks_may_not() -> None:
    words = describe_resampled(make_job(), replace(_PREPARED, notes=("No dose.",)), 0)
    assert "not for primary diagnosis" in words
    assert "Values keep their unit" in words
    assert words.endswith("No dose.")
    pipeline = make_pipeline()
    derivation = describe_resampling(_PREPARED, pipeline, "0.1.0")
    assert f"Pipeline {pipeline.name}@{pipeline.edition}." in derivation
    assert "linearly onto the MRI grid, smoothed first where its voxels are finer" in derivation
    cubes = reformat(make_request())
    derivation = describe_resampling(cubes.prepared, cubes.pipeline, "0.1.0")
    assert f"onto cubes of {cubes.prepared.grid.spacing_mm[0]:.3g} mm" in derivation
    assert "onto the MRI grid" not in derivation


def test_the_ends_of_a_window_carry_the_unit_once() -> None:
    assert describe_ends(Window(0.0, 7.246, Unit.SUVBW)) == ("0", "7.25 SUVbw")


@pytest.mark.parametrize(
    ("share", "words"), [(0.0, "0 %"), (1e-6, "1 %"), (0.42, "42 %"), (0.9999, "99 %"), (1.0, "100 %")]
)
def test_a_share_is_nothing_or_everything_only_where_it_is_so(share: float, words: str) -> None:
    assert spell_share(share) == words
