"""Fusion networks (middle): one file each, told apart by an explicit table."""

from collections.abc import Callable, Mapping

from torch import Tensor, nn

from fusionnode.fusion.networks.asymmetric_restormer import AsymmetricRestormer
from fusionnode.fusion.networks.dilated_residual_attention import DilatedResidualAttentionNetwork
from fusionnode.fusion.networks.mask_attention import MaskAttentionNetwork
from fusionnode.fusion.networks.spatial_frequency_experts import SpatialFrequencyExpertsNetwork

NETWORKS: Mapping[str, Callable[[Mapping[str, Tensor]], nn.Module]] = {
    "asymmetric-restormer": AsymmetricRestormer.from_weights,
    "dilated-residual-attention": DilatedResidualAttentionNetwork.from_weights,
    "mask-attention": MaskAttentionNetwork.from_weights,
    "spatial-frequency-experts": SpatialFrequencyExpertsNetwork.from_weights,
}
"""Card name → what builds that network from its weights.

The contract of every network: two float32 (batch, 1, rows, columns) in [0, 1] → one of the same; any size;
each image on its own, whatever else is in the batch; deterministic in evaluation mode; never NaN.
"""
