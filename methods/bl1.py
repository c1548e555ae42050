"""BL1: a variational hash of single frames, pooled over a video.

Li, Chen, Li, Lu, Zhou: Unsupervised Variational Video Hashing with 1D-CNN-LSTM Networks, IEEE Transactions on
Multimedia, 2020, Section IV-E (Table V). Section, table and equation numbers below are that paper's.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import nn

from vhbench.errors import MethodError
from vhbench.methods.variational import Autoencoder, Heads, VariationalHashing
from vhbench.training import Moment

WIDTHS = (512, 256)  # as the channels of UVVH's convolutions


class BL1(VariationalHashing):
    """Variational hashing of single frames, their relaxed codes averaged over a video (2020).

    The code, the two stages and both terms of the loss (Eq. 2, 6, 15) are UVVH's, on frames instead of videos.

    Differences from the printed paper, and why:

    - The paper takes the frame's network from Shen, Liu, Shao: Unsupervised Binary Representation Learning with Deep
      Variational Networks, International Journal of Computer Vision, 2019, and says no more. That paper's text was out
      of reach, and the code that its authors released (a snapshot that does not run) has no reconstruction: what tells
      it of the data are a graph term whose call is broken and the centres of a clustering that it does not do. Cleaned
      up without them it learns constant bits: 32 of 32 on the demo protocol. So BL1 here is a plain variational
      autoencoder of frames with UVVH's code, the least that Table V's comparison needs; its sizes are this project's
      choice.
    - A frame's relaxed code is tanh(mu); the video's code is the sign of its mean over the frames.
    - An epoch takes `frames_per_video` random frames of each video, since neighbouring frames are nearly alike.
    - Optimiser, batch size and epochs are UVVH's, for a like comparison, as are the sign of Eq. 7, the clamped log
      sigma, the dropout rate and the first biases.

    Args:
        bits: code length k.
        epochs: passes over the training set (IV-C: 80).
        warmup: share of the epochs in the deterministic first stage (IV-C: 50 of 80).
        batch_size: videos a step (IV-C).
        lr: Adam's learning rate (IV-C).
        encoder_lr_factor: the encoder's share of it (IV-C: one rate); UVVH says when less helps.
        weight_decay: L2 term of Adam (IV-C).
        kl_weight: alpha_1 of Eq. 2 in the second stage (IV-C).
        recon_weight: alpha_2 of Eq. 2 (IV-C).
        frames_per_video: frames of each video in an epoch; all where it has no more (this project's choice).
        dropout: rate in the decoder (this project's choice).
        start_at_mean: the last biases start at the training set's mean frame, as in UVVH (this project's
            choice); off: at 0.
    """

    name = "bl1"
    reference = "Li, Chen, Li, Lu, Zhou, IEEE Transactions on Multimedia 2020"

    # IV-C: one setting for all data sets
    presets: ClassVar[dict[str, dict[str, Any]]] = {"fcvid": {}, "activitynet": {}, "yfcc": {}}

    def __init__(
        self,
        bits: int,
        *,
        epochs: int = 80,
        warmup: float = 0.625,
        batch_size: int = 256,
        lr: float = 1e-3,
        encoder_lr_factor: float = 1.0,
        weight_decay: float = 1e-4,
        kl_weight: float = 1.0,
        recon_weight: float = 1.0,
        frames_per_video: int = 5,
        dropout: float = 0.1,
        start_at_mean: bool = True,
    ):
        self.bits = bits
        self.epochs = epochs
        self.warmup = warmup
        self.batch_size = batch_size
        self.lr = lr
        self.encoder_lr_factor = encoder_lr_factor
        self.weight_decay = weight_decay
        self.kl_weight = kl_weight
        self.recon_weight = recon_weight
        self.frames_per_video = frames_per_video
        self.dropout = dropout
        self.start_at_mean = start_at_mean

    def build(self, frames: int, dim: int) -> nn.Module:
        """Return an autoencoder of single frames."""
        if self.frames_per_video < 1:
            raise MethodError(f"bl1 needs at least 1 frame a video; frames_per_video is {self.frames_per_video}.")
        return Autoencoder(Encoder(self.bits, dim), Decoder(self.bits, dim, self.dropout))

    def loss(self, module: Autoencoder, videos: torch.Tensor, moment: Moment) -> dict[str, torch.Tensor]:
        """Return the terms of Eq. 2 on some random frames of each video."""
        return super().loss(module, _single(self._choose(videos)), moment)

    def codes(self, module: Autoencoder, videos: torch.Tensor) -> torch.Tensor:
        """Return the sign of the frames' mean relaxed code as bool."""
        mu, _ = module.encoder(_single(videos))
        return mu.tanh().view(*videos.shape[:2], self.bits).mean(dim=1) >= 0  # type: ignore[no-any-return]

    def _choose(self, videos: torch.Tensor) -> torch.Tensor:
        """Return `frames_per_video` different random frames of each video, (batch, frames, dim)."""
        batch, frames, _ = videos.shape
        if frames <= self.frames_per_video:
            return videos
        chosen = torch.rand(batch, frames, device=videos.device).argsort(dim=1)[:, : self.frames_per_video]
        return videos[torch.arange(batch, device=videos.device)[:, None], chosen]


def _single(videos: torch.Tensor) -> torch.Tensor:
    """Return every frame as a video of its own, (batch * frames, 1, dim)."""
    return videos.flatten(0, 1).unsqueeze(1)


class Encoder(nn.Module):
    """Two layers on a frame, then the heads of Eq. 4 and 5."""

    def __init__(self, bits: int, dim: int):
        super().__init__()
        a, b = WIDTHS
        self.layers = nn.Sequential(
            nn.Linear(dim, a), nn.BatchNorm1d(a), nn.Tanh(), nn.Linear(a, b), nn.BatchNorm1d(b), nn.Tanh()
        )
        self.heads = Heads(b, bits)

    def forward(self, videos: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Map videos of one frame (batch, 1, dim) to mu and log sigma, each (batch, bits)."""
        heads: tuple[torch.Tensor, torch.Tensor] = self.heads(self.layers(videos.squeeze(1)))
        return heads


class Decoder(nn.Module):
    """The encoder's layers in reverse order, without batch normalisation."""

    def __init__(self, bits: int, dim: int, dropout: float):
        super().__init__()
        a, b = WIDTHS
        self.layers = nn.Sequential(
            nn.Linear(bits, b), nn.Tanh(), nn.Dropout(dropout), nn.Linear(b, a), nn.Tanh(), nn.Dropout(dropout)
        )
        self.read_out = nn.Linear(a, dim)

    @property
    def output_bias(self) -> nn.Parameter:
        """Bias of the last layer, shape (dim,)."""
        return self.read_out.bias

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        """Map codes (batch, bits) to reconstructed videos of one frame (batch, 1, dim)."""
        frames: torch.Tensor = self.read_out(self.layers(h)).unsqueeze(1)
        return frames
