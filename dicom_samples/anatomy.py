"""The synthetic head: which tissue lies where, as maps of what MR, PET and SPECT see of it (pure).

Nothing here was measured on a human being. Sizes follow textbook averages; the folds of the cortex are level sets of a
smooth random field, which is also the shape that growth instabilities give a real cortex.
The origin lies in the middle of the brain; coordinates are LPS mm of the MR's frame of reference.
"""

import numpy as np
from scipy import ndimage

from dicom_samples.extracranial import measure_intracranial, paint_outer_head
from dicom_samples.shapes import Field, Place, Waves, cover, cut_smoothly, measure_ellipsoid, measure_tube
from dicom_samples.tissues import LOW_MM, TISSUES, Canvas

CORTEX_MM = 2.8
NODULE_MM = (-30.0, -44.0, 26.0)
"""Centre (LPS mm, MR frame) of the tracer-avid nodule in the right frontal white matter."""
COLD_MM = (54.0, 34.0, 24.0)
"""Centre of the region of halved uptake in the left parietal cortex; it looks normal on MR."""


def build_head() -> Canvas:
    """Paint the whole head, outermost first; later tissue covers earlier tissue."""
    canvas = Canvas.empty()
    cavity = measure_intracranial(canvas.place)
    paint_outer_head(canvas, cavity)
    canvas.paint(cover(cavity), TISSUES["csf"])
    _paint_cerebrum(canvas, cavity)
    _paint_cerebellum(canvas, cavity)
    _paint_brainstem(canvas)
    _paint_callosum_and_ventricles(canvas)
    _paint_deep_nuclei(canvas)
    _paint_sinuses(canvas, cavity)
    _paint_findings(canvas)
    return canvas


def _measure_above_tentorium(place: Place) -> Field:
    """Height above the sheet between the occipital lobes and the cerebellum, mm."""
    return np.asarray(place.up + 4 + 0.28 * place.aside + 0.10 * (place.back - 30), dtype=np.float32)


def _measure_hemispheres(place: Place, cavity: Field) -> Field:
    """Both hemispheres without their folds: the cavity less fissures, cisterns and posterior fossa."""
    ridge = 6 + 0.42 * place.aside
    fossa = np.maximum(ridge - place.back, _measure_above_tentorium(place) - 1.5)
    shape = cut_smoothly(cavity + 1.6, -fossa, 3)
    shape = cut_smoothly(shape, -measure_ellipsoid(place, (0, 2, -32), (17, 25, 22)), 3)
    sheet = place.left - 1.0 * np.sin(place.back / 23 + place.up / 31)
    core = measure_ellipsoid(place, (0, -10, 4), (400, 36, 24))
    longitudinal = np.maximum(np.abs(sheet) - 0.7, -core)
    shape = cut_smoothly(shape, -np.asarray(longitudinal, dtype=np.float32), 1)
    return cut_smoothly(shape, -_measure_sylvian(place), 1)


def _measure_sylvian(place: Place) -> Field:
    """The lateral fissure and the cleft over the insula."""
    rise = place.up + 7 - 0.30 * (place.back + 14) - 2.0 * np.sin(place.back / 9) + 0.35 * (place.aside - 45)
    along = np.maximum(-36 - place.back, place.back - 36)
    lateral = np.maximum(np.maximum(np.abs(rise) - 1.1, 40 - place.aside), along)
    bulge = place.aside - 41 + 0.006 * (place.back + 15) ** 2
    outline = 13 * (np.sqrt(((place.back + 13) / 24) ** 2 + ((place.up - 2) / 14) ** 2) - 1)
    insular = np.maximum(np.abs(bulge) - 1.0, outline)
    return np.asarray(np.minimum(lateral, insular), dtype=np.float32)


def _paint_cerebrum(canvas: Canvas, cavity: Field) -> None:
    shape = _measure_hemispheres(canvas.place, cavity)
    folds = _carve_folds(canvas.place, shape)
    pia = (shape > 0) | (folds > 0.3)
    below_pia = np.asarray(ndimage.distance_transform_edt(~pia), dtype=np.float32)
    brain = cover(shape)
    canvas.paint(brain, TISSUES["grey"])
    canvas.paint(brain * cover(CORTEX_MM - below_pia, 1.6), TISSUES["white"])
    canvas.paint(brain * folds, TISSUES["csf"])


def _carve_folds(place: Place, shape: Field) -> Field:
    """Share of CSF (0 to 1) in sulci that run from the surface inwards, along the zero lines of a random field."""
    inside = shape < 0
    depth, nearest = ndimage.distance_transform_edt(inside, return_indices=True)
    # Without smoothing, neighbours jump between surface voxels and the sulci come out frayed.
    feet = [ndimage.gaussian_filter(axis.astype(np.float32), 1.2) for axis in nearest]
    where = np.nonzero(inside & (depth < 24))
    points = np.stack([feet[axis][where] + LOW_MM[2 - axis] for axis in (2, 1, 0)], axis=1).astype(np.float32)
    value, slope = Waves.draw(7, 24.0).evaluate(points)
    reach, _ = Waves.draw(8, 45.0).evaluate(points)
    below = depth[where].astype(np.float32)
    reach_mm = 14.0 + 4.0 * reach
    half_width = 0.55 + 0.55 * np.clip(1 - below / 12, 0, 1)
    sheet = np.abs(value) / np.maximum(slope, 0.2)
    folds = np.zeros(shape.shape, dtype=np.float32)
    folds[where] = cover(sheet - half_width) * cover(below - reach_mm, 3.0)
    spared = measure_ellipsoid(place, (0, -8, 4), (37, 40, 26))
    return np.asarray(folds * (1 - cover(spared, 4.0)), dtype=np.float32)


def _paint_cerebellum(canvas: Canvas, cavity: Field) -> None:
    """Two hemispheres and the vermis, with thin folia and a branching white core."""
    place = canvas.place
    shape = np.minimum(
        measure_ellipsoid(place, (24, 48, -36), (33, 33, 29), 12), measure_ellipsoid(place, (0, 46, -28), (12, 24, 28))
    )
    shape = cut_smoothly(shape, cavity + 2.2, 2)
    shape = cut_smoothly(shape, _measure_above_tentorium(place) + 1.5, 2)
    depth = np.clip(-shape, 0, 30)
    ripple = 1.5 * np.sin(place.aside / 6.0) + 1.2 * np.sin(place.back / 5.0)
    turn_mm = 24 * np.arctan2(place.up + 36, place.back - 26) + 0.15 * place.aside + ripple
    folia = np.cos(turn_mm * np.float32(2 * np.pi / 4.6))
    branches = np.cos(turn_mm * np.float32(2 * np.pi / 9.2))
    canvas.paint(cover(shape), TISSUES["cerebellar grey"])
    canvas.paint(0.75 * cover(6.5 - 3.6 * branches - depth, 2.0) * cover(shape), TISSUES["white"])
    canvas.paint(0.8 * cover(0.82 - folia, 0.4) * cover(depth - 5.0, 2.0) * cover(shape), TISSUES["csf"])
    core = measure_ellipsoid(place, (17, 42, -36), (13, 10, 7), 20)
    canvas.paint(cover(core, 2.0) * cover(shape), TISSUES["white"])


def _paint_brainstem(canvas: Canvas) -> None:
    window = canvas.crop((-40, 40), (-20, 60), (-92, 10))
    place = window.place
    stem = measure_tube(place, [(0, 8, -2, 12), (0, 9, -16, 11), (0, 13, -46, 9), (0, 25, -62, 6.5), (0, 28, -96, 5.5)])
    peduncles = measure_tube(place, [(8, 4, -4, 8), (8, 2, -20, 6)])
    pons = measure_ellipsoid(place, (0, 9, -31), (16, 13, 14))
    bridge = measure_tube(place, [(10, 10, -31, 8), (19, 34, -36, 6)])
    for part in (stem, peduncles, pons, bridge):
        window.paint(cover(part), TISSUES["brainstem"])
    window.paint(cover(measure_tube(place, [(0, 17, -8, 1.1), (0, 20, -24, 1.2)])), TISSUES["csf"])
    window.paint(cover(measure_ellipsoid(place, (0, 26, -33), (8, 4.5, 10))), TISSUES["csf"])


def _paint_callosum_and_ventricles(canvas: Canvas) -> None:
    window = canvas.crop((-45, 45), (-60, 70), (-30, 40))
    place = window.place
    arch = measure_ellipsoid(place, (0, -10, 4), (30, 36, 24))
    hollow = measure_ellipsoid(place, (0, -11, 2), (34, 27, 19.5))
    window.paint(cover(np.maximum(np.maximum(arch, -hollow), -(place.up + 4))), TISSUES["callosum"])
    lateral = [
        (13, -45, 1, 4.0), (10.5, -36, 8, 6.2), (8.5, -22, 15, 5.5), (9.5, -6, 18.5, 5.0),
        (13, 8, 19, 5.5), (19, 20, 15, 6.5), (25, 30, 6, 7.5),
    ]  # fmt: skip
    horns = [(26, 30, 4, 6.5), (34, 18, -8, 3.6), (35, 6, -17, 2.8), (30, -6, -21, 2.4)]
    occipital = [(25, 30, 6, 6.5), (26, 44, 4, 4.0), (23, 58, 4, 1.8)]
    septum = 1.0 - place.aside
    for knots in (lateral, horns, occipital):
        window.paint(cover(np.maximum(measure_tube(place, knots), septum)), TISSUES["csf"])
    third = measure_ellipsoid(place, (0, -4, -3), (2.4, 17, 10))
    window.paint(cover(third), TISSUES["csf"])


def _paint_deep_nuclei(canvas: Canvas) -> None:
    window = canvas.crop((-45, 45), (-60, 60), (-30, 40))
    place = window.place
    putamen = measure_ellipsoid(place, (26.5, -16, 2), (5.2, 17, 11), 14)
    pallidum = measure_ellipsoid(place, (19.5, -12, 0), (4.2, 9.5, 7), 24)
    head = measure_ellipsoid(place, (15.5, -32, 5), (5.6, 10, 9.5), 12)
    tail = measure_tube(place, [(15, -28, 12, 4.5), (16, -12, 19, 3.6), (19, 4, 20, 2.8), (26, 18, 15, 2.2)])
    thalamus = measure_ellipsoid(place, (11.5, 2, 6), (9, 15.5, 9.5), 26)
    amygdala = measure_tube(place, [(24, -16, -20, 7), (28, -2, -20, 4.5), (29, 12, -14, 4)])
    window.paint(cover(amygdala), TISSUES["grey"])
    window.paint(cover(measure_tube(place, [(32, -3, -18, 1.6), (34, 8, -13, 1.8)])), TISSUES["csf"])
    for part, name in (
        (putamen, "striatum"),
        (pallidum, "pallidum"),
        (np.minimum(head, tail), "striatum"),
        (np.maximum(thalamus, 2.2 - place.aside), "thalamus"),
    ):
        window.paint(cover(part, 1.4), TISSUES[name])


def _paint_sinuses(canvas: Canvas, cavity: Field) -> None:
    """Venous blood in the sagittal and transverse sinuses."""
    place = canvas.place
    sagittal = np.maximum(np.abs(cavity + 2.5) - 2.5, np.maximum(place.aside - 3.0, -10 - place.up))
    canvas.paint(cover(sagittal), TISSUES["blood"])
    transverse = np.maximum(np.abs(cavity + 2.0) - 2.5, np.abs(_measure_above_tentorium(place)) - 3.0)
    canvas.paint(cover(np.maximum(transverse, 34 - place.back)), TISSUES["blood"])


def _paint_findings(canvas: Canvas) -> None:
    """Make left and right tell-tale: a hot nodule right frontal, a cold cortex left parietal."""
    place = canvas.place
    offset = [place.left - NODULE_MM[0], place.back - NODULE_MM[1], place.up - NODULE_MM[2]]
    canvas.paint(cover(np.sqrt(sum(part**2 for part in offset)) - 7.0), TISSUES["nodule"])
    offset = [(place.left - COLD_MM[0]) / 26, (place.back - COLD_MM[1]) / 24, (place.up - COLD_MM[2]) / 24]
    loss = 0.5 * np.clip(2.0 - 2.0 * np.sqrt(sum(part**2 for part in offset)), 0, 1)
    for uptake in (canvas.fdg, canvas.perfusion):
        np.multiply(uptake, 1 - loss, out=uptake, casting="same_kind")
