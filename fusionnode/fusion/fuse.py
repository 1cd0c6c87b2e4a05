"""Running a fuser over two stacks of slices (middle).

Torch is loaded by who fuses, not by who imports this: the workers that prepare and send do without it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fusionnode.domain.images import SliceStack
from fusionnode.domain.model import ModelCard, ModelKind
from fusionnode.errors import ModelUnavailable, SettingsInvalid

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from fusionnode.fusion.classical import Rule

_PIXELS_AT_ONCE = {"cpu": 1 << 16, "cuda": 1 << 20}
"""By kind of device. A network keeps a few hundred feature maps: one slice of 256² at a time keeps a processor's memory
low and its caches warm, several at a time keep a GPU busy in about two gigabytes."""


_WARM = 0.1
"""Uptake from which on the fuser alone decides; below, it shares with the card's gain for cold anatomy."""


@dataclass(frozen=True, eq=False)
class Fuser:
    """A rule or a network, ready to run: two float32 (batch, 1, rows, columns) in [0, 1] → one of the same."""

    card: ModelCard
    combine: "Rule"
    device: "torch.device"

    def __call__(self, fixed: "Tensor", moving: "Tensor") -> "Tensor":
        """Fuse one batch that lies on ``device``."""
        fused = self.combine(fixed, moving)
        if not self.card.cold_gain:
            return fused
        warm = (moving / _WARM).clamp(0, 1)
        return warm * fused + (1 - warm) * self.card.cold_gain * fixed

    def show_alone(self, fixed: SliceStack) -> SliceStack:
        """The anatomy where there is no functional image: as bright as beside it where there is no uptake."""
        return fixed * np.float32(self.card.cold_gain or 1)


def choose_device(wanted: str) -> "torch.device":
    """Where networks shall run: ``cpu``, ``cuda``, or ``auto``, which is the GPU if one is visible.

    Raises:
        SettingsInvalid: a GPU is wanted and none is visible.
    """
    import torch

    visible = torch.cuda.is_available()
    if wanted == "cuda" and not visible:
        raise SettingsInvalid(
            "The site file wants networks on a GPU, and torch sees none.",
            remedy="Install a CUDA build of torch and its driver, or set `device` to auto or cpu.",
        )
    return torch.device("cuda" if visible and wanted != "cpu" else "cpu")


def load_fuser(
    card: ModelCard, weights: "Mapping[str, Tensor] | None" = None, device: "torch.device | str" = "cpu"
) -> Fuser:
    """Make the fuser a card describes.

    Args:
        card: of `fusionnode.fusion.cards`.
        weights: of a network, by parameter name; a classical rule has none.
        device: where it shall run.

    Raises:
        ModelUnavailable: the card is of a network and its weights are missing, broken, or another network's.
    """
    import torch

    from fusionnode.fusion.classical import RULES

    if card.kind is ModelKind.CLASSICAL:
        if weights is not None:
            raise ValueError(f"{card.identifier} is a classical rule and takes no weights")
        return Fuser(card, RULES[card.name], torch.device(device))
    network = _restore_network(card, weights).to(device).eval()
    # TensorFloat-32 keeps ten bits of a product; results shall be the processor's, but for the order of sums.
    torch.backends.cudnn.allow_tf32 = False
    return Fuser(card, network, torch.device(device))


def fuse_slices(fixed: SliceStack, moving: SliceStack, fuser: Fuser, *, batch: int = 8) -> SliceStack:
    """Fuse slice by slice.

    Args:
        fixed: float32 [slice, row, column] in [0, 1].
        moving: same shape and range, on the same grid.
        fuser: from `load_fuser`.
        batch: slices at once, at most; fewer are taken when they are large.

    Returns:
        The fused luminance, same shape and range.

    Raises:
        ValueError: the stacks break the contract above, which is the caller's defect.
        ArithmeticError: the fuser broke its own.
        MemoryError: the device has no room for a batch now.
    """
    _require_stacks(fixed, moving)
    at_once = max(1, min(batch, _PIXELS_AT_ONCE[fuser.device.type] // (fixed.shape[1] * fixed.shape[2])))
    fused = np.empty_like(fixed)
    for start in range(0, len(fixed), at_once):
        part = slice(start, start + at_once)
        fused[part] = _fuse_batch(fixed[part], moving[part], fuser)
    if not (np.isfinite(fused).all() and fused.min() >= 0 and fused.max() <= 1):
        raise ArithmeticError(f"{fuser.card.identifier} left the range [0, 1]")
    return fused


def warm_up(fuser: Fuser) -> None:
    """Fuse one black slice, so that the first job does not wait for libraries to be loaded and kernels chosen."""
    black = np.zeros((1, 256, 256), np.float32)
    fuse_slices(black, black, fuser)


def _restore_network(card: ModelCard, weights: "Mapping[str, Tensor] | None") -> "nn.Module":
    import torch

    from fusionnode.fusion.networks import NETWORKS

    if weights is None:
        raise ModelUnavailable(
            f"No trained weights are at hand for {card.identifier}.",
            remedy="Name a fuser that `fusionnode models` shows as available.",
            model=card.identifier,
        )
    if not all(torch.isfinite(tensor).all() for tensor in weights.values()):
        raise ModelUnavailable(
            f"The weights of {card.identifier} hold numbers that are not finite.",
            remedy="Install the weight file again.",
            model=card.identifier,
        )
    try:
        return NETWORKS[card.name](weights)
    except (KeyError, RuntimeError) as cause:
        raise ModelUnavailable(
            f"The weights do not fit the network of {card.identifier}: {cause}",
            remedy="Install the weight file that belongs to this version.",
            model=card.identifier,
        ) from cause


def _require_stacks(fixed: SliceStack, moving: SliceStack) -> None:
    if fixed.ndim != 3 or fixed.shape != moving.shape or fixed.size == 0:
        raise ValueError(f"two stacks [slice, row, column] of one shape are needed, not {fixed.shape}, {moving.shape}")
    for name, stack in (("fixed", fixed), ("moving", moving)):
        if stack.dtype != np.float32:
            raise ValueError(f"the {name} stack is {stack.dtype}, not float32")
        # Written so that NaN fails as well.
        if not (stack.min() >= 0 and stack.max() <= 1):
            raise ValueError(f"the {name} stack leaves the range [0, 1]")


def _fuse_batch(fixed: SliceStack, moving: SliceStack, fuser: Fuser) -> SliceStack:
    import torch

    try:
        with torch.inference_mode():
            fused = fuser(_to_tensor(fixed, fuser.device), _to_tensor(moving, fuser.device))
    except torch.OutOfMemoryError as cause:
        # To torch it is a RuntimeError, to a job it is nothing to give up for: another process may have the GPU now.
        raise MemoryError(f"{fuser.card.identifier} found no room on {fuser.device}") from cause
    luminance: SliceStack = fused[:, 0].cpu().numpy()
    return luminance


def _to_tensor(stack: SliceStack, device: "torch.device") -> "Tensor":
    import torch

    return torch.from_numpy(np.ascontiguousarray(stack)).to(device)[:, None]
