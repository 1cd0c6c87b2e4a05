"""The main job with every fuser by name, on the sample head and on limbs, which no network has seen."""

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fusionnode.domain.images import PreparedPair
from fusionnode.domain.model import ModelCard
from fusionnode.evaluation.guards import Brightness, measure_flicker
from fusionnode.flow.fuse_pair import PairSources, fuse_prepared, prepare_pair
from fusionnode.fusion.cards import CARDS
from fusionnode.fusion.colour import chroma_table, luminance
from fusionnode.fusion.readback import read_uptake
from fusionnode.intake.folder import read_folder
from fusionnode.logs import StepClock
from fusionnode.pipeline.schema import Pipeline
from fusionnode.settings import Settings
from fusionnode.wiring import find_shared, load_pipelines, open_fuser

CLOCK = StepClock(logging.getLogger("test"))
BLACK, WHITE = 0.002, 0.9
STEADY = 2.6
"""Twice the sources' own change from slice to slice is what following both in full would give."""

every_fuser = pytest.mark.parametrize("card", [card for card in CARDS.values() if card.available], ids=lambda c: c.name)


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    return load_pipelines(Settings(), None)["mr-pt"]


@pytest.fixture(scope="module")
def head(pipeline: Pipeline) -> PreparedPair:
    samples = find_shared("dicom_samples") / "head"
    return _prepare(samples / "mr", samples / "pt", pipeline)


@pytest.fixture(scope="module")
def limb(pipeline: Pipeline, real_data: Path) -> PreparedPair:
    patient = real_data / "sts_pet_mr" / "STS_003"
    return _prepare(patient / "MR_T1", patient / "PET", pipeline)


def _prepare(fixed: Path, moving: Path, pipeline: Pipeline) -> PreparedPair:
    """A dozen neighbouring slices from the middle, which is enough to see and a quarter of the time."""
    sources = PairSources(read_folder(fixed), read_folder(moving), shared_frame=True)
    whole = prepare_pair(sources, pipeline, CLOCK)
    middle = len(whole.fixed) // 2
    part = slice(middle - 6, middle + 6)
    return replace(whole, fixed=whole.fixed[part], moving=whole.moving[part], covered=whole.covered[part])


@every_fuser
def test_the_sample_head_is_fused_by_name(card: ModelCard, head: PreparedPair, pipeline: Pipeline) -> None:
    _require_a_good_picture(card, head, pipeline)


@pytest.mark.real_data
@every_fuser
def test_a_limb_is_fused_by_name(card: ModelCard, limb: PreparedPair, pipeline: Pipeline) -> None:
    _require_a_good_picture(card, limb, pipeline)


def _require_a_good_picture(card: ModelCard, prepared: PreparedPair, pipeline: Pipeline) -> None:
    """Black stays black, slices do not flicker, and the colours still tell the uptake."""
    fused = fuse_prepared(prepared, pipeline, open_fuser(card.name), CLOCK)
    shown = luminance(fused.rgb)
    assert fused.model == card.identifier
    assert fused.rgb.shape == (*prepared.fixed.shape, 3)
    air = (prepared.fixed < BLACK) & (prepared.moving < BLACK)
    assert shown[air].mean() < 1 / 255

    means = zip(prepared.fixed, prepared.moving, shown, strict=True)
    flicker = measure_flicker([[Brightness(*(float(image.mean()) for image in images)) for images in means]])
    assert flicker is not None
    assert flicker < STEADY

    # White has no hue; there brightness alone tells that it is hot.
    seen = (prepared.moving > 0.2) & (shown < WHITE)
    told = read_uptake(fused.rgb, chroma_table(pipeline.fusion.palette))
    assert np.corrcoef(told[seen], prepared.moving[seen])[0, 1] > 0.9
