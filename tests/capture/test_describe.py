import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusionnode.capture.describe import (
    NOT_DIAGNOSTIC,
    describe_comments,
    describe_derivation,
    describe_motion,
    describe_motion_briefly,
    describe_series,
)
from fusionnode.capture.identity import FusedIdentity
from tests.support.captures import make_job, make_request, make_scene

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
    description = describe_derivation(_PREPARED, text, text, "0.1.0")
    assert len(description) <= 1024
    assert description.isascii()
    assert "\\" not in description


def test_derivation_names_model_transform_quality_pipeline_and_software() -> None:
    description = describe_derivation(_PREPARED, "laplacian@1.0", "brain-pet@1.2", "0.1.0")
    for fact in ("laplacian@1.0", "brain-pet@1.2", "fusionnode 0.1.0", "rotation 12.00 deg", "overlap 0.87"):
        assert fact in description
    assert "mutual information 0.6123 nats (0.3101 before)" in description
    assert "0 to 8.25 SUVbw" in description


def test_a_shared_frame_claims_no_figures_that_were_never_measured() -> None:
    estimate = make_request(make_scene(shared=True)).prepared.estimate
    assert math.isnan(estimate.information)
    assert "nan" not in describe_motion(estimate)
    assert describe_motion(estimate).startswith("Transform: shared frame of reference, rotation 0.00 deg")


def test_the_brief_motion_fits_a_long_string() -> None:
    estimate = replace(_PREPARED.estimate, displacement_mm=123456.789)
    assert describe_motion_briefly(estimate) == "12.00 deg, 123456.79 mm at the centre, overlap 0.87"


@pytest.mark.parametrize(
    ("share", "words"),
    [(0.0, "does not reach this slice"), (0.5, "covers 50 % of this slice"), (0.001, "covers 1 %"), (0.999, "99 %")],
)
def test_comments_say_where_the_functional_series_ends(share: float, words: str) -> None:
    covered = np.zeros((2, 10, 100), np.bool_)
    covered[1].flat[: round(share * 1000)] = True
    comments = describe_comments(make_job(), replace(_PREPARED, covered=covered), 1)
    assert words in comments
    assert NOT_DIAGNOSTIC in comments


def test_comments_of_a_covered_slice_do_not_speak_of_coverage() -> None:
    assert "this slice" not in describe_comments(make_job(), _PREPARED, 0)


def test_comments_name_the_series_they_supersede() -> None:
    earlier = "00112233445566778899aabb"
    assert FusedIdentity(earlier).series_uid in describe_comments(make_job(supersedes=earlier), _PREPARED, 0)
    assert "Supersedes" not in describe_comments(make_job(), _PREPARED, 0)


def test_comments_carry_every_warning() -> None:
    estimate = replace(_PREPARED.estimate, warnings=("Little overlap.",))
    comments = describe_comments(make_job(), replace(_PREPARED, estimate=estimate, notes=("No dose.",)), 0)
    assert "Little overlap." in comments
    assert "No dose." in comments
