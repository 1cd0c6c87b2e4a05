"""How fast to learn at which step (middle)."""

import math


def cosine_rate(step: int, steps: int, peak: float, floor: float = 1e-5, warmup: int = 100) -> float:
    """Rise in a straight line over ``warmup`` steps, then fall along half a cosine from ``peak`` to ``floor``."""
    warmup = min(warmup, steps // 10)
    if step < warmup:
        return peak * (step + 1) / warmup
    progress = min((step - warmup) / max(steps - warmup, 1), 1.0)
    return floor + (peak - floor) * (1 + math.cos(math.pi * progress)) / 2
