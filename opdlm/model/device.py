"""The devices that models run on."""

import torch

from opdlm.records import Cost


def cost(seconds: float, device: str | torch.device, processes: int = 1) -> Cost:
    """So many seconds of so many devices, one a process.

    Args:
        device: one of them.
    """
    place = torch.device(device)
    if place.type != "cuda":
        return Cost(seconds=seconds, devices=0, device=place.type)
    return Cost(seconds=seconds, devices=processes, device=torch.cuda.get_device_name(place))
