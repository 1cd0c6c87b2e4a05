from dataclasses import FrozenInstanceError
from itertools import pairwise
from typing import get_args

import pytest

from fusionnode.pipeline.schema import Registration
from fusionnode.registration.presets import PRESETS


def test_every_preset_a_pipeline_may_name_exists_and_no_other() -> None:
    assert set(get_args(Registration.model_fields["preset"].annotation)) == set(PRESETS)


def test_presets_carry_the_name_they_are_found_by() -> None:
    assert all(preset.name == name for name, preset in PRESETS.items())


@pytest.mark.parametrize("name", PRESETS)
def test_levels_get_finer_and_end_with_smaller_steps(name: str) -> None:
    levels, finalists = PRESETS[name].levels, PRESETS[name].finalists
    assert levels
    assert len(finalists) == len(levels)
    assert list(finalists) == sorted(finalists, reverse=True)
    for coarse, fine in pairwise(levels):
        assert fine.spacing_mm < coarse.spacing_mm
        assert fine.fixed_blur_mm < coarse.fixed_blur_mm
        assert fine.moving_blur_mm < coarse.moving_blur_mm
        assert fine.last_step_mm < coarse.last_step_mm
    assert all(level.last_step_mm < level.first_step_mm and level.step_mm >= level.spacing_mm for level in levels)


def test_presets_cannot_be_changed_at_run_time() -> None:
    with pytest.raises(TypeError):
        PRESETS["brain-rigid"] = PRESETS["brain-rigid"]
    with pytest.raises(FrozenInstanceError):
        PRESETS["brain-rigid"].seed = 1
