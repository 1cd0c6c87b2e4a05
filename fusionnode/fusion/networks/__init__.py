"""Fusion networks (middle): one file each, told apart by an explicit table."""

from collections.abc import Callable, Mapping

from torch import Tensor, nn

from fusionnode.fusion.networks.dilated_residual_attention import DilatedResidualAttentionNetwork

NETWORKS: Mapping[str, Callable[[Mapping[str, Tensor]], nn.Module]] = {
    "dilated-residual-attention": DilatedResidualAttentionNetwork.from_weights,
}
"""Card name → what builds that network from its weights.

The contract of every network: two float32 (batch, 1, rows, columns) in [0, 1] → one of the same; any size;
each image on its own, whatever else is in the batch; deterministic in evaluation mode; never NaN.
"""
