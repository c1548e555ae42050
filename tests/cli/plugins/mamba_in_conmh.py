"""A ninth method of ConMH's family in one file: Mamba, read forwards and backwards, in the place of attention."""

import torch
from torch import nn

from vhbench.methods.conmh import ConMH
from vhbench.methods.mamba import Mamba


class MambaBlock(nn.Module):
    """x + mamba(norm(x)) + the same read backwards with a Mamba of its own."""

    def __init__(self, width: int):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.ahead, self.back = Mamba(width), Mamba(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        normal = self.norm(x)
        return x + self.ahead(normal) + self.back(normal.flip(1)).flip(1)


class MambaConMH(ConMH):
    """ConMH with bidirectional Mamba blocks in encoder and decoder."""

    name = "mamba-conmh"
    reference = "an example"

    def __init__(
        self, bits, *, epochs=350, batch_size=128, lr=5e-4, min_lr=1e-5, weight_decay=1e-4, mask_ratio=0.5,
        temperature=0.5, tau=0.1, contrastive_weight=1.0, blocks=2, width=64, decoder_width=48,
    ):  # fmt: skip
        self.bits, self.epochs, self.batch_size = bits, epochs, batch_size
        self.lr, self.min_lr, self.weight_decay = lr, min_lr, weight_decay
        self.mask_ratio, self.temperature, self.tau = mask_ratio, temperature, tau
        self.contrastive_weight = contrastive_weight
        self.blocks, self.width, self.decoder_width = blocks, width, decoder_width

    def encoder_layers(self):
        return [MambaBlock(self.width) for _ in range(self.blocks)]

    def decoder_layers(self):
        return [MambaBlock(self.decoder_width)]
