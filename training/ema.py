"""The exponential moving average of the weights, which is what ships."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Average:
    """Follows a module's weights; `decay` is reached gradually, so that the random beginning is soon forgotten."""

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self.updates = 0
        self.weights: dict[str, Tensor] = {name: value.detach().clone() for name, value in module.state_dict().items()}

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """One step towards the module's weights."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        current = module.state_dict()
        floating = [name for name, value in self.weights.items() if value.is_floating_point()]
        torch._foreach_lerp_([self.weights[name] for name in floating], [current[name] for name in floating], 1 - decay)

    def state_dict(self) -> dict[str, object]:
        return {"updates": self.updates, "weights": self.weights}

    def load_state_dict(self, state: dict[str, object]) -> None:
        self.updates = int(state["updates"])  # type: ignore[call-overload]
        weights: dict[str, Tensor] = dict(state["weights"])  # type: ignore[call-overload]
        self.weights = {name: value.to(self.weights[name].device) for name, value in weights.items()}
