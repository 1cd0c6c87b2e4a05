"""Everything around the brain: cranial cavity, skull, scalp, face and neck (pure)."""

import numpy as np

from dicom_samples.shapes import (
    Field,
    Place,
    Waves,
    cover,
    cut_smoothly,
    join_smoothly,
    measure_ellipsoid,
    measure_tube,
)
from dicom_samples.tissues import TISSUES, Canvas

SKULL_MM = 6.5
SCALP_MM = 5.8


def measure_intracranial(place: Place) -> Field:
    """Signed distance to the inner table of the skull: cerebral vault, middle fossae and posterior fossa."""
    egg = Place(place.left * (1 - 0.0014 * (place.back - 14)), place.back, place.up)
    vault = measure_ellipsoid(egg, (0, 2, 12), (67, 86, 63))
    floor = -17 - 24 / (1 + np.exp(-(place.back + 22) / 4))
    vault = cut_smoothly(vault, np.asarray(floor - place.up, dtype=np.float32), 8)
    middle = measure_ellipsoid(place, (39, 0, -20), (27, 37, 24))
    posterior = measure_ellipsoid(place, (0, 46, -34), (54, 39, 34))
    cavity = join_smoothly(join_smoothly(vault, middle, 8), posterior, 10)
    petrous = measure_tube(place, [(56, 30, -40, 10), (18, 8, -36, 4)])
    return cut_smoothly(cavity, -petrous, 4)


def paint_outer_head(canvas: Canvas, cavity: Field) -> None:
    """Paint skin, fat, muscle, skull, sinuses, orbits, jaw and spine; the cavity itself is left as bone."""
    head = _measure_head(canvas.place, cavity)
    canvas.paint(cover(head), TISSUES["skin"])
    canvas.paint(cover(head + 1.8), TISSUES["fat"])
    canvas.paint(cover(head + 5.2), TISSUES["muscle"])
    _paint_soft_tissue(canvas, head, cavity)
    _paint_skull(canvas, cavity)
    _paint_airways(canvas)
    _paint_orbits(canvas, head)
    _paint_jaw_and_spine(canvas)


def _measure_head(place: Place, cavity: Field) -> Field:
    lower = join_smoothly(
        measure_ellipsoid(place, (0, -56, -36), (61, 40, 36)), measure_ellipsoid(place, (0, -40, -72), (55, 56, 52)), 14
    )
    neck = measure_ellipsoid(place, (0, 22, -100), (60, 64, 80))
    head = join_smoothly(join_smoothly(cavity - SKULL_MM - SCALP_MM, lower, 14), neck, 24)
    head = join_smoothly(head, measure_ellipsoid(place, (66, -22, -2), (13, 26, 34)), 10)
    nose = measure_tube(place, [(0, -92, -28, 6), (0, -100, -54, 11), (0, -92, -62, 10)])
    head = join_smoothly(head, nose, 8)
    return np.minimum(head, measure_ellipsoid(place, (81, 22, -34), (5, 15, 27), -16))


def _paint_soft_tissue(canvas: Canvas, head: Field, cavity: Field) -> None:
    """Break the muscle of face and neck up by fat planes."""
    inside = np.nonzero((head < -5) & (cavity > SKULL_MM) & (canvas.place.up < 30))
    points = _list_points(canvas.place, inside)
    points[:, 0] = np.abs(points[:, 0])
    value, slope = Waves.draw(101, 34.0).evaluate(points)
    planes = np.zeros(head.shape, dtype=np.float32)
    planes[inside] = cover(np.abs(value) / np.maximum(slope, 0.09) - 1.3)
    canvas.paint(planes, TISSUES["fat"])


def _paint_skull(canvas: Canvas, cavity: Field) -> None:
    """Two dark tables with bright marrow between them; the base is thicker and mixed."""
    place = canvas.place
    thickness = SKULL_MM + np.clip((-30 - place.up) / 8, 0, 2)
    canvas.paint(cover(cavity - thickness), TISSUES["bone"])
    diploe = np.maximum(np.abs(cavity - 3.5) - 1.15, -(place.up + 62))
    canvas.paint(0.8 * cover(diploe), TISSUES["marrow"])
    clivus = measure_tube(place, [(0, -8, -34, 7), (0, 2, -60, 6)])
    canvas.paint(cover(clivus), TISSUES["bone"])
    canvas.paint(cover(clivus + 2.2), TISSUES["marrow"])


def _paint_airways(canvas: Canvas) -> None:
    window = canvas.crop((-60, 60), (-112, 30), (-92, 12))
    place = window.place
    nasal = measure_ellipsoid(place, (7, -66, -48), (7, 34, 19))
    window.paint(cover(nasal - 1.5), TISSUES["mucosa"])
    window.paint(cover(np.maximum(nasal, 1.5 - place.aside)), TISSUES["air"])
    for up in (-60.0, -49.0, -39.0):
        window.paint(cover(measure_tube(place, [(9, -84, up, 3), (9, -46, up, 3)])), TISSUES["mucosa"])
    for centre, semi in (
        ((31.0, -64.0, -54.0), (13.0, 16.0, 15.0)),
        ((8.0, -20.0, -30.0), (8.5, 11.0, 9.0)),
        ((6.5, -60.0, -23.0), (5.0, 22.0, 7.0)),
        ((10.0, -86.5, -4.0), (8.0, 2.6, 8.0)),
        ((0.0, -16.0, -76.0), (9.0, 8.0, 30.0)),
    ):
        sinus = measure_ellipsoid(place, centre, semi)
        window.paint(cover(sinus - 1.6), TISSUES["bone"])
        window.paint(cover(sinus - 0.8), TISSUES["mucosa"])
        window.paint(cover(sinus), TISSUES["air"])


def _paint_orbits(canvas: Canvas, head: Field) -> None:
    socket = _measure_sockets(canvas.place)
    canvas.paint(cover(np.maximum(socket - 1.8, head + 3)), TISSUES["bone"])
    canvas.paint(cover(np.maximum(socket, head + 2)), TISSUES["fat"])
    window = canvas.crop((-60, 60), (-112, -20), (-52, 4))
    place = window.place
    for near, far in (
        ((20.0, -74.0, -23.0, 1.8), (17.0, -42.0, -21.0, 1.6)),
        ((43.0, -72.0, -23.0, 1.8), (21.0, -42.0, -21.0, 1.6)),
        ((31.0, -72.0, -12.0, 1.8), (19.0, -42.0, -19.0, 1.6)),
        ((31.0, -72.0, -34.0, 1.8), (19.0, -42.0, -23.0, 1.6)),
        ((31.0, -66.0, -23.0, 2.0), (18.0, -40.0, -21.0, 1.8)),
    ):
        window.paint(cover(measure_tube(place, [near, far])), TISSUES["muscle"])
    eye = measure_ellipsoid(place, (31, -75, -23), (12, 12, 12))
    window.paint(cover(eye - 0.9), TISSUES["muscle"])
    window.paint(cover(eye), TISSUES["vitreous"])
    window.paint(cover(measure_ellipsoid(place, (31, -83, -23), (4.6, 2.4, 4.6))), TISSUES["lens"])


def _measure_sockets(place: Place) -> Field:
    front = measure_ellipsoid(place, (31, -68, -23), (16, 18, 16))
    return join_smoothly(front, measure_tube(place, [(28, -58, -23, 12), (17, -36, -21, 4)]), 6)


def _paint_jaw_and_spine(canvas: Canvas) -> None:
    window = canvas.crop((-70, 70), (-100, 70), (-92, -50))
    place = window.place
    for bone in (
        measure_tube(place, [(48, -2, -58, 5), (47, -10, -92, 6)]),
        measure_tube(place, [(38, -72, -80, 5), (22, -84, -80, 5), (0, -88, -80, 5)]),
        measure_ellipsoid(place, (0, 8, -82), (11, 8, 13)),
        measure_ellipsoid(place, (26, 22, -78), (15, 9, 7)),
        measure_ellipsoid(place, (0, 54, -84), (5, 12, 6)),
    ):
        window.paint(cover(bone), TISSUES["bone"])
        window.paint(cover(bone + 1.6), TISSUES["marrow"])
    canal = measure_tube(place, [(0, 26, -62, 13), (0, 27, -76, 10), (0, 28, -96, 9)])
    window.paint(cover(canal - 1.5), TISSUES["bone"])
    window.paint(cover(canal), TISSUES["csf"])


def _list_points(place: Place, inside: tuple[np.ndarray, ...]) -> Field:
    up, back, left = inside
    return np.stack([place.left[0, 0, left], place.back[0, back, 0], place.up[up, 0, 0]], axis=1)
