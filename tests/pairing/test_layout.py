"""Laws of the slice layout: a missing inner slice is always told, and order never matters."""

import itertools
import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusionnode.domain.series import InstanceHeader
from fusionnode.pairing.layout import LayoutKind, count_places, judge_layout
from tests.support.series_headers import AXIAL, Stack, make_series


def slices_of(**stack: object) -> list[InstanceHeader]:
    return list(make_series("layout", stack=Stack(**stack)).instances)  # type: ignore[arg-type]


@given(slices=st.integers(3, 40), spacing=st.floats(0.3, 12), seed=st.integers(0, 99))
def test_a_whole_even_stack_is_even_in_any_order(slices: int, spacing: float, seed: int) -> None:
    instances = slices_of(slices=slices, spacing_mm=spacing)
    random.Random(seed).shuffle(instances)
    assert judge_layout(instances).kind is LayoutKind.EVEN


@given(data=st.data(), slices=st.integers(5, 24), spacing=st.floats(0.5, 8))
def test_missing_inner_slices_are_named_exactly(data: st.DataObject, slices: int, spacing: float) -> None:
    dropped = data.draw(st.sets(st.integers(1, slices - 2), min_size=1, max_size=slices - 3))
    kept = [index for index in range(slices) if index not in dropped]
    neighbours = any(after - before == 1 for before, after in itertools.pairwise(kept))
    layout = judge_layout(slices_of(slices=slices, spacing_mm=spacing, dropped=dropped))
    free = [-20 + index * spacing for index in sorted(dropped)]
    if neighbours and len(kept) >= 3:
        assert layout.kind is LayoutKind.GAP
        assert layout.missing_mm == pytest.approx(free, abs=1e-6)
    else:
        # Without two true neighbours the spacing can only be guessed, so the places are no more than likely.
        assert all(-20 < place < -20 + (slices - 1) * spacing for place in layout.missing_mm)


def test_steps_that_are_no_multiples_of_each_other_are_no_gap() -> None:
    layout = judge_layout(slices_of(slices=14, spacing_mm=1.0, dropped=set(range(1, 11)) | {12}))
    assert layout.kind is LayoutKind.OPEN
    assert layout.missing_mm == ()


def test_the_message_gives_the_missing_positions() -> None:
    assert "missing at -11.00, -8.00 mm" in judge_layout(slices_of(dropped={3, 4})).words


def test_rounded_positions_still_are_even() -> None:
    instances = [
        replace(one, position_mm=(0.0, 0.0, round(index * 3.269955, 1)))
        for index, one in enumerate(slices_of(slices=30))
    ]
    assert judge_layout(instances).kind is LayoutKind.EVEN


def test_positions_are_judged_along_the_normal_of_an_oblique_stack() -> None:
    orientation = (0.96, 0.28, 0.0, -0.224, 0.768, -0.6)
    normal = np.cross(orientation[:3], orientation[3:])
    oblique = [
        replace(one, orientation=orientation, position_mm=tuple(float(v) for v in 10 + normal * 2.5 * index))
        for index, one in enumerate(slices_of(slices=8))
    ]
    assert judge_layout(oblique).kind is LayoutKind.EVEN
    assert judge_layout([*oblique[:4], *oblique[5:]]).kind is LayoutKind.GAP


def test_a_three_plane_localizer_is_no_gap() -> None:
    planes = [AXIAL, (1.0, 0.0, 0.0, 0.0, 0.0, -1.0), (0.0, 1.0, 0.0, 0.0, 0.0, -1.0)]
    localizer = [replace(one, orientation=planes[index % 3]) for index, one in enumerate(slices_of(slices=9))]
    layout = judge_layout(localizer)
    assert layout.kind is LayoutKind.OPEN
    assert "3 orientations" in layout.words


def test_two_echoes_at_each_position_are_no_gap() -> None:
    assert judge_layout(slices_of() + slices_of()).kind is LayoutKind.OPEN


@pytest.mark.parametrize(
    "change",
    [
        {"position_mm": None},
        {"orientation": None},
        {"orientation": (1.0, 0.0, 0.0)},
        {"orientation": (float("nan"),) * 6},
        {"orientation": (0.0,) * 6},
        {"position_mm": (0.0, 0.0, float("inf"))},
        {"frames": 12},
    ],
)
def test_unusable_geometry_proves_nothing(change: dict[str, object]) -> None:
    instances = [replace(one, **change) for one in slices_of()]  # type: ignore[arg-type]
    assert judge_layout(instances).kind is LayoutKind.OPEN


@pytest.mark.parametrize("slices", [1, 2])
def test_too_few_slices_prove_nothing(slices: int) -> None:
    assert judge_layout(slices_of(slices=slices)).kind is LayoutKind.OPEN


def test_uneven_spacing_is_open_not_even() -> None:
    heights = [0.0, 3.0, 6.0, 10.0, 13.0, 16.0]
    uneven = [
        replace(one, position_mm=(0.0, 0.0, height)) for one, height in zip(slices_of(slices=6), heights, strict=True)
    ]
    assert judge_layout(uneven).kind is LayoutKind.OPEN


def test_a_stray_slice_far_away_ends_in_a_bounded_list() -> None:
    instances = slices_of(slices=4)
    first, second = (one.position_mm or (0.0, 0.0, 0.0) for one in instances[:2])
    stray = replace(instances[0], position_mm=(*first[:2], first[2] + 2_000_000 * (second[2] - first[2])))
    layout = judge_layout([*instances, stray])
    assert layout.kind is LayoutKind.GAP
    assert len(layout.missing_mm) <= 4096
    assert len(layout.words) < 300


@given(slices=st.integers(1, 20), copies=st.integers(1, 4), seed=st.integers(0, 99))
def test_copies_at_one_position_count_once(slices: int, copies: int, seed: int) -> None:
    instances = slices_of(slices=slices) * copies
    random.Random(seed).shuffle(instances)
    assert count_places(instances) == slices


def test_slices_of_two_orientations_count_apart() -> None:
    coronal = slices_of(slices=5, orientation=(1.0, 0.0, 0.0, 0.0, 0.0, -1.0))
    # They are stacked along z, which lies within a coronal plane: one plane in five pieces.
    assert count_places(slices_of(slices=7) + coronal) == 7 + 1


@pytest.mark.parametrize(
    "geometry", [{"position_mm": None}, {"orientation": None}, {"position_mm": (0.0, 0.0, float("nan"))}, {"frames": 3}]
)
def test_what_states_no_position_of_its_own_counts_by_its_frames(geometry: dict[str, object]) -> None:
    instances = slices_of(slices=4)
    blind = [replace(one, **geometry) for one in instances[:2]]  # type: ignore[arg-type]
    assert count_places([*instances[2:], *blind]) == 2 + sum(one.frames for one in blind)
    assert count_places([]) == 0


def test_a_multi_frame_object_counts_by_the_positions_it_states() -> None:
    (dynamic,) = slices_of(slices=1, frames=120)
    assert count_places([dynamic]) == 120
    assert count_places([replace(dynamic, places=6)]) == 6
