"""Registers pairs of image files by one method, one pair per line of standard input, one line of JSON per answer.

The driver is `tests.benchmarks.bench_registration`. A process of its own for each method makes its peak memory its own,
and lets ANTs and elastix live in another virtual environment, whose numpy is not ours: so nothing of fusionnode is
imported before a method needs it. Images and motions are LPS, as ITK has them.
"""

# The libraries compared here are mostly without types.
# mypy: allow-untyped-calls, allow-any-generics

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

THREADS = 2
CORNERS_MM = np.array([[0.0, 0, 0], [100, 0, 0], [0, 100, 0], [0, 0, 100]])


def register_by_fusionnode(fixed: str, moving: str) -> Callable[[], np.ndarray]:
    """The brain-rigid preset."""
    import SimpleITK as sitk

    from fusionnode.domain.terms import Unit
    from fusionnode.domain.volume import Volume
    from fusionnode.registration.bridge import array_from_image, grid_from_image
    from fusionnode.registration.estimate import estimate_motion
    from fusionnode.registration.presets import PRESETS

    images = [sitk.ReadImage(path) for path in (fixed, moving)]
    one, other = (Volume(array_from_image(i), grid_from_image(i), Unit.ARBITRARY, "1", "2") for i in images)
    return lambda: estimate_motion(one, other, PRESETS["brain-rigid"]).motion.moving_from_fixed


def register_by_simpleitk(fixed: str, moving: str) -> Callable[[], np.ndarray]:
    """Plain Mattes mutual information: 50 bins, 5 % of the voxels, three levels, centres of mass first."""
    import SimpleITK as sitk

    one, other = (sitk.ReadImage(path, sitk.sitkFloat32) for path in (fixed, moving))

    def register() -> np.ndarray:
        start = sitk.CenteredTransformInitializer(
            one, other, sitk.Euler3DTransform(), sitk.CenteredTransformInitializerFilter.MOMENTS
        )
        method = sitk.ImageRegistrationMethod()
        method.SetMetricAsMattesMutualInformation(50)
        method.SetMetricSamplingStrategy(method.RANDOM)
        method.SetMetricSamplingPercentage(0.05, 1)
        method.SetInterpolator(sitk.sitkLinear)
        method.SetOptimizerAsRegularStepGradientDescent(1.0, 1e-4, 200)
        method.SetOptimizerScalesFromPhysicalShift()
        method.SetShrinkFactorsPerLevel([4, 2, 1])
        method.SetSmoothingSigmasPerLevel([2, 1, 0])
        method.SetInitialTransform(start, inPlace=False)
        found = method.Execute(one, other)
        return _measure_matrix(found.TransformPoint)

    return register


def register_by_ants(fixed: str, moving: str) -> Callable[[], np.ndarray]:
    """``ants.registration`` with ``Rigid``, else its own settings: Mattes, four levels, centres of mass first."""
    import ants

    one, other = ants.image_read(fixed), ants.image_read(moving)

    def register() -> np.ndarray:
        found = ants.registration(one, other, type_of_transform="Rigid", random_seed=1)
        transform = ants.read_transform(found["fwdtransforms"][0])
        return _measure_matrix(lambda point: ants.apply_ants_transform_to_point(transform, point))

    return register


def register_by_elastix(fixed: str, moving: str) -> Callable[[], np.ndarray]:
    """The default parameter map ``rigid``."""
    import itk

    one, other = (itk.imread(path, itk.F) for path in (fixed, moving))

    def register() -> np.ndarray:
        settings = itk.ParameterObject.New()
        settings.AddParameterMap(settings.GetDefaultParameterMap("rigid"))
        _, found = itk.elastix_registration_method(
            one, other, parameter_object=settings, log_to_console=False, number_of_threads=THREADS
        )
        answer = found.GetParameterMap(0)
        transform = itk.Euler3DTransform[itk.D].New()
        transform.SetCenter([float(v) for v in answer["CenterOfRotationPoint"]])
        numbers = [float(v) for v in answer["TransformParameters"]]
        transform.SetRotation(*numbers[:3])
        transform.SetTranslation(numbers[3:])
        return _measure_matrix(transform.TransformPoint)

    return register


METHODS = {
    "fusionnode": register_by_fusionnode,
    "ants": register_by_ants,
    "elastix": register_by_elastix,
    "simpleitk": register_by_simpleitk,
}


def _measure_matrix(transform: Callable[[Any], Any]) -> np.ndarray:
    """The 4x4 of an affine transform, from where it carries four points."""
    moved = np.array([list(transform([float(v) for v in corner])) for corner in CORNERS_MM])
    matrix = np.eye(4)
    matrix[:3, :3] = (moved[1:] - moved[0]).T / 100
    matrix[:3, 3] = moved[0]
    return matrix


def _read_peak_mib() -> float:
    """Of this process since it began; what ``getrusage`` tells may stem from the one it was forked from."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def main() -> None:
    """Answer until standard input ends."""
    load = METHODS[sys.argv[1]]
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints must not pass for an answer
    for line in sys.stdin:
        register = load(*json.loads(line))
        answer: dict[str, Any] = {}
        cpu, wall = time.process_time(), time.perf_counter()
        try:
            answer["answer"] = register().tolist()
        except Exception as error:  # a method that gives up is a result too
            answer["error"] = f"{type(error).__name__}: {error}"[:200]
        answer["seconds"], answer["cpu"] = time.perf_counter() - wall, time.process_time() - cpu
        answer["peak_mib"] = _read_peak_mib()
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
