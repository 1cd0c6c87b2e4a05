"""What several networks end and begin with (middle): gains for the sources instead of free values, and padding."""

import torch
from torch import Tensor
from torch.nn import functional

GAIN_LIMIT = 1.5


def weigh_sources(logits: Tensor, fixed: Tensor, moving: Tensor) -> Tensor:
    """One gain in (0, 1.5) for each source and pixel.

    What is black in both sources is black in the result by construction: no haze, and nothing invented in the air
    around the head. The papers leave the output activation open.

    Args:
        logits: (batch, 2, at least rows, at least columns), fixed then moving; what lies beyond the images is cut off.
        fixed: (batch, 1, rows, columns) in [0, 1].
        moving: the same.

    Returns:
        float32 (batch, 1, rows, columns), not limited to [0, 1].
    """
    rows, columns = fixed.shape[-2:]
    # Under autocast the gains stay in float32: eight bits of them would show as steps on smooth uptake.
    with torch.autocast(fixed.device.type, enabled=False):
        gains = GAIN_LIMIT * torch.sigmoid(logits.float())[..., :rows, :columns]
        return gains[:, :1] * fixed + gains[:, 1:] * moving


def pad_to_multiple(image: Tensor, multiple: int) -> Tensor:
    """Repeat the last row and column until both sizes divide by ``multiple``."""
    rows, columns = image.shape[-2:]
    return functional.pad(image, (0, -columns % multiple, 0, -rows % multiple), mode="replicate")
