"""Networks as training sees them (middle): one batch in, the fused image and the decoupled sources out."""

from collections.abc import Callable, Mapping
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from fusionnode.errors import ModelUnknown
from fusionnode.fusion.networks.asymmetric_restormer import AsymmetricRestormer, Modality
from fusionnode.fusion.networks.dilated_residual_attention import DilatedResidualAttentionNetwork
from fusionnode.fusion.networks.mask_attention import DecouplingNetwork, MaskAttentionNetwork
from fusionnode.fusion.networks.spatial_frequency_experts import SpatialFrequencyExpertsNetwork
from fusionnode.training.datasets import Batch
from fusionnode.training.reconstruction import autoencoder_loss, first_stage_loss


@runtime_checkable
class Reconstructing(Protocol):
    """A trainee that can also be asked for each source by itself."""

    def difference(self, image: Tensor, source: Tensor) -> Tensor:
        """A reconstruction and its source → a scalar."""

    def reconstruct(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Fixed and moving as the network rebuilds them, float32."""


class MaskAttentionTrainee(nn.Module):
    """The fusion network with its decoupling network, which is left behind when the weights are exported."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.network = MaskAttentionNetwork(channels)
        self.decoupling = DecouplingNetwork(channels)

    def forward(self, batch: Batch) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """The fused luminance before limiting, and both decoupled sources."""
        composition = self.network.compose(batch.fixed, batch.moving, batch.mask_fixed, batch.mask_moving)
        fixed, moving = self.decoupling(composition)
        return composition.fused, (fixed.float(), moving.float())


class DilatedResidualAttentionTrainee(nn.Module):
    """An auto-encoder; it fuses without having learnt to, so that its measures can be followed."""

    difference = staticmethod(autoencoder_loss)

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.network = DilatedResidualAttentionNetwork(channels)

    def forward(self, batch: Batch) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """The fused luminance, and both sources reconstructed."""
        fused: Tensor = self.network(batch.fixed, batch.moving)
        return fused, self.reconstruct(batch)

    def reconstruct(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Each source out of its own features."""
        both = self.network.decode(self.network.encode(torch.cat([batch.fixed, batch.moving])))
        fixed, moving = both.float().chunk(2)
        return fixed, moving


class AsymmetricRestormerTrainee(nn.Module):
    """Two stages: each source by itself, then both."""

    difference = staticmethod(first_stage_loss)

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.network = AsymmetricRestormer(channels)

    def forward(self, batch: Batch) -> tuple[Tensor, None]:
        """The fused luminance before limiting."""
        return self.network.compose(batch.fixed, batch.moving), None

    def reconstruct(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Each source through its own encoder."""
        fixed = self.network.reconstruct(batch.fixed, Modality.FIXED)
        return fixed, self.network.reconstruct(batch.moving, Modality.MOVING)


class SpatialFrequencyExpertsTrainee(nn.Module):
    """One stage, nothing beside the fused image."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.network = SpatialFrequencyExpertsNetwork(channels)

    def forward(self, batch: Batch) -> tuple[Tensor, None]:
        """The fused luminance before limiting."""
        return self.network.compose(batch.fixed, batch.moving), None


TRAINEES: Mapping[str, Callable[[int], nn.Module]] = {
    "asymmetric-restormer": AsymmetricRestormerTrainee,
    "dilated-residual-attention": DilatedResidualAttentionTrainee,
    "mask-attention": MaskAttentionTrainee,
    "spatial-frequency-experts": SpatialFrequencyExpertsTrainee,
}
"""Card name → what makes the network of so many channels, with a member ``network`` that is exported."""


def make_trainee(name: str, channels: int, seed: int) -> nn.Module:
    """A network at its beginning, which depends on the seed alone.

    Raises:
        ModelUnknown: no network of this name can be trained.
    """
    if name not in TRAINEES:
        raise ModelUnknown(f"No network called {name!r} can be trained.", remedy=f"Known: {', '.join(TRAINEES)}.")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        trainee = TRAINEES[name](channels)
    trainee.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return trainee


def reconstruction_loss(trainee: nn.Module, batch: Batch, *, bfloat16: bool = False) -> Tensor:
    """How far both reconstructed sources are from the sources, by the difference the trainee names.

    Raises:
        TypeError: the network does not reconstruct.
    """
    if not isinstance(trainee, Reconstructing):
        raise TypeError(f"{type(trainee).__name__} does not reconstruct its sources")
    with torch.autocast(batch.fixed.device.type, torch.bfloat16, enabled=bfloat16):
        fixed, moving = trainee.reconstruct(batch)
    return (trainee.difference(fixed, batch.fixed) + trainee.difference(moving, batch.moving)) / 2
