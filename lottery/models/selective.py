"""Residual sums whose branch has lost channels: the "selective addition" of Idiap-RR-03-2018."""

import torch
from torch import Tensor, nn

from lottery.errors import ConfigError


class SelectiveAddition(nn.Module):
    """x + change, where the change may have only some of x's channels; the others pass unchanged.

    So the last layer of a residual branch can lose filters although what it is added to keeps all
    of its channels. At first it has them all, and is a plain sum, whose terms `lottery.trace` ties;
    after a cut, be it to all of them, `lottery.shrink` takes filters of the branch alone.

    >>> add = SelectiveAddition()
    >>> add.cut_change(torch.tensor([0, 2]), channels=3)
    >>> add(torch.ones(1, 3), torch.tensor([[5.0, 7.0]]))
    tensor([[6., 1., 8.]])
    """

    kept: Tensor | None
    """Which of x's channels each channel of the change is added to, int64, ascending; None: all."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("kept", None)

    def forward(self, x: Tensor, change: Tensor) -> Tensor:
        """(batch, channels, ...) and (batch, kept channels, ...) -> (batch, channels, ...)."""
        if self.kept is None:
            return x + change
        return x.index_add(1, self.kept, change)  # each channel once: no order of sums to depend on

    def cut_change(self, keep: Tensor, channels: int) -> None:
        """The change keeps only these of the channels that it has now, ascending.

        channels: how many x has.
        """
        kept = self._among(channels, keep.device)
        if keep.numel() and not 0 <= int(keep.min()) <= int(keep.max()) < len(kept):
            allowed = f"channels of the change: 0 to {len(kept) - 1}"
            raise ConfigError("keep", keep.tolist(), allowed)
        self.kept = kept[keep]

    def cut_input(self, keep: Tensor, channels: int) -> Tensor:
        """x keeps only these of its channels; the change's channels that are still to be computed.

        What would be added to a channel that is gone must go too: the branch's last layer is to be
        cut to the channels returned. keep: ascending. channels: how many x has before.
        """
        kept = self._among(channels, keep.device)
        left = torch.isin(kept, keep).nonzero().squeeze(1)
        self.kept = torch.searchsorted(keep, kept[left])
        return left

    def _among(self, channels: int, device: torch.device) -> Tensor:
        if self.kept is None:
            return torch.arange(channels, device=device)
        return self.kept.to(device)
