"""What an auto-encoder is trained to make small (middle): how far a reconstructed image is from its source.

Both losses take (batch, 1, rows, columns); the reconstruction may leave [0, 1].
"""

import torch
from torch import Tensor
from torch.nn import functional

from fusionnode.training.measures import measure_structure, sobel_edges

_LEVELS = 3


def autoencoder_loss(image: Tensor, source: Tensor) -> Tensor:
    """Zhou et al. 2022: squared distance, 0.2 times that of the edges, 0.2 times a perceptual distance.

    The authors measure perception with a network trained on photographs. Here it is 1 − SSIM and the absolute distance
    of Laplacian pyramids, which need nobody else's weights.
    """
    edges = functional.mse_loss(sobel_edges(image).abs(), sobel_edges(source).abs())
    perceptual = 1 - measure_structure(image, source, source).mean() + pyramid_distance(image, source)
    return functional.mse_loss(image, source) + 0.2 * edges + 0.2 * perceptual


def first_stage_loss(image: Tensor, source: Tensor) -> Tensor:
    """Squared distance, 5 times 1 − SSIM, 5 times the absolute distance of the edges.

    Kong et al. 2025 print no weights; these are of CDDFuse, the nearest published two-stage training.
    """
    structure = 1 - measure_structure(image, source, source).mean()
    edges = functional.l1_loss(sobel_edges(image), sobel_edges(source))
    return functional.mse_loss(image, source) + 5 * structure + 5 * edges


def pyramid_distance(image: Tensor, source: Tensor) -> Tensor:
    """Mean absolute difference of two Laplacian pyramids of three bands and a rest, summed over these."""
    # The pyramid is linear, so that of the difference is the difference of theirs.
    rest = image - source
    distance = torch.zeros((), device=rest.device)
    for _ in range(_LEVELS):
        halved = functional.avg_pool2d(rest, 2, ceil_mode=True, count_include_pad=False)
        grown = functional.interpolate(halved, rest.shape[-2:], mode="bilinear", align_corners=False)
        distance = distance + (rest - grown).abs().mean()
        rest = halved
    return distance + rest.abs().mean()
