"""Which floating-point numbers a device has."""

import torch


def widest(device: torch.device) -> torch.dtype:
    """float64; on Apple's GPUs, which have none, float32."""
    return torch.float32 if device.type == "mps" else torch.float64
