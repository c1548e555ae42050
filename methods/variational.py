"""What the variational autoencoders of the UVVH paper share: UVVH and its ablations, BL2 and BL3.

Li, Chen, Li, Lu, Zhou: Unsupervised Variational Video Hashing with 1D-CNN-LSTM Networks, IEEE Transactions on
Multimedia, 2020. Section and equation numbers below are that paper's.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from torch import nn

from vhbench.method import FitContext
from vhbench.methods.layers import sign, sign_ste, xavier_init
from vhbench.methods.projection import mean_of
from vhbench.training import Moment, NeuralMethod
from vhbench.videos import VideoSet


class VariationalHashing(NeuralMethod):
    """Two-stage training of a variational autoencoder with a binary code; a subclass writes `__init__` and `build`.

    `build` returns an `Autoencoder`. Training first is deterministic, z = mu and no prior term; then probabilistic, z
    sampled from the posterior (Eq. 8) with the KL term (Eq. 6). Codes are sign(mu).

    Attributes:
        warmup: share of the epochs in the deterministic first stage.
        kl_weight: alpha_1 of Eq. 2 in the second stage.
        recon_weight: alpha_2 of Eq. 2.
        quantization_weight: alpha_3 of Eq. 19; above 0 the decoder sees z and there is no straight-through gradient.
        encoder_lr_factor: the encoder's learning rate is this times `lr`; `UVVH` says what for.
        start_at_mean: the decoder's last biases start at the training set's mean frame instead of 0.
    """

    warmup: float
    kl_weight: float
    recon_weight: float
    quantization_weight: float = 0.0
    encoder_lr_factor: float = 1.0
    start_at_mean: bool = False

    def prepare(self, module: Autoencoder, train: VideoSet, ctx: FitContext) -> None:
        """Start the decoder's output at the mean frame, so that no step is spent on learning it."""
        if self.start_at_mean:
            mean = torch.from_numpy(mean_of(train.mean_frames()))
            with torch.no_grad():
                module.decoder.output_bias.copy_(mean)  # type: ignore[operator]

    def optimizer(self, module: Autoencoder) -> torch.optim.Optimizer:
        """Return Adam with L2 weight decay and a group each for encoder and decoder."""
        groups: list[dict[str, Any]] = [
            {"params": module.encoder.parameters(), "lr": self.encoder_lr_factor * self.lr},
            {"params": module.decoder.parameters()},
        ]
        return torch.optim.Adam(groups, lr=self.lr, weight_decay=self.weight_decay, fused=True)

    def loss(self, module: Autoencoder, videos: torch.Tensor, moment: Moment) -> dict[str, torch.Tensor]:
        """Return the terms of Eq. 2, or of Eq. 19 with a quantisation weight."""
        mu, log_sigma = module.encoder(videos)
        sampled = moment.epoch >= round(self.warmup * moment.epochs)
        z = mu + log_sigma.exp() * torch.randn_like(mu) if sampled else mu
        decoded = module.decoder(z if self.quantization_weight else sign_ste(z))
        terms = {"recon": self.recon_weight * reconstruction(videos, decoded)}
        if sampled:
            terms["kl"] = self.kl_weight * kl_divergence(mu, log_sigma)
        if self.quantization_weight:
            terms["quantization"] = self.quantization_weight * quantization(z)
        return terms

    def codes(self, module: Autoencoder, videos: torch.Tensor) -> torch.Tensor:
        """Return sign(mu) as bool (III-B: z is the posterior's mean at test time)."""
        mu, _ = module.encoder(videos)
        return mu >= 0  # type: ignore[no-any-return]


class Autoencoder(nn.Module):
    """Encoder and decoder; weights start Xavier-uniform, biases at 0 (IV-C).

    Args:
        encoder: maps videos (batch, frames, dim) to mu and log sigma, each (batch, bits).
        decoder: maps codes (batch, bits) to frames (batch, frames, dim); `output_bias` is its last layer's bias (dim,).
    """

    def __init__(self, encoder: nn.Module, decoder: nn.Module):
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.apply(xavier_init)


class Heads(nn.Module):
    """The posterior's parameters from tanh(t): mu and log sigma, two linear maps (Eq. 4, 5).

    Args:
        width: size of t (d).
        bits: code length k.
    """

    def __init__(self, width: int, bits: int):
        super().__init__()
        self.mu = nn.Linear(width, bits)
        self.log_sigma = nn.Linear(width, bits)

    def forward(self, t: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Map (batch, width) to mu and log sigma, each (batch, bits), in the weights' dtype also under autocast."""
        dtype = self.mu.weight.dtype
        return self.mu(t).to(dtype), self.log_sigma(t).to(dtype).clamp(-8, 4)


def projection(bits: int, intermediate: int, width: int, dropout: float) -> nn.Sequential:
    """Return the layers from a code over t_p to t_hat (Eq. 11, 12).

    Args:
        bits: code length k.
        intermediate: size of t_p; 0 leaves it out (Table VI).
        width: size of t_hat (d).
        dropout: rate after each tanh.
    """
    widths = (bits, intermediate, width) if intermediate else (bits, width)
    layers: list[nn.Module] = []
    for width_in, width_out in pairwise(widths):
        layers += [nn.Linear(width_in, width_out), nn.Tanh(), nn.Dropout(dropout)]
    return nn.Sequential(*layers)


def reconstruction(videos: torch.Tensor, decoded: torch.Tensor) -> torch.Tensor:
    """Return Eq. 15: squared error summed over dimensions, averaged over frames and videos."""
    return (videos - decoded.to(videos.dtype)).square().sum(dim=2).mean()


def kl_divergence(mu: torch.Tensor, log_sigma: torch.Tensor) -> torch.Tensor:
    """Return Eq. 6 averaged over videos: KL of N(mu, sigma^2) from N(0, 1), summed over bits."""
    return -0.5 * (1 + 2 * log_sigma - mu.square() - (2 * log_sigma).exp()).sum(dim=1).mean()


def quantization(z: torch.Tensor) -> torch.Tensor:
    """Return Eq. 18: the mean distance (not squared) of z from its code, the code held constant."""
    return ((sign(z).detach() - z).square().sum(dim=1) + 1e-12).sqrt().mean()
