"""BL2: an LSTM variational autoencoder in place of UVVH's convolutions.

Li, Chen, Li, Lu, Zhou: Unsupervised Variational Video Hashing with 1D-CNN-LSTM Networks, IEEE Transactions on
Multimedia, 2020, Section IV-E (Table V). Section, table and equation numbers below are that paper's.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import nn

from vhbench.methods.layers import LSTM
from vhbench.methods.variational import Autoencoder, Heads, VariationalHashing, projection

HIDDEN = 256  # Table I: the size of t and of the decoder's LSTM


class BL2(VariationalHashing):
    """Variational video hashing with an LSTM encoder and a free-running LSTM decoder (2020).

    The code, the two stages and both terms of the loss (Eq. 2, 6, 15) are UVVH's.

    Differences from the printed paper, and why:

    - The paper gives BL2 one sentence, "a LSTM-based variational autoencoder", and no sizes; all of the network is this
      project's choice, the closest to UVVH: t of Eq. 3 is the last hidden state of an LSTM of 256 units; mu and log
      sigma (from tanh(t), Eq. 4 and 5), t_p and t_hat are UVVH's; the decoder is an LSTM of 256 units with a linear
      read-out.
    - The decoder has no coarse frames to read. It reads P(t_hat), P a learned map to frame size as in Section III-C,
      then at every step the frame that it made last: it runs freely, without teacher forcing, so that all it knows of
      the video comes through the code. The frame fed back is the one that the loss sees, made after dropout.
    - The sign of Eq. 7, the clamped log sigma, the dropout rate and the first biases are as in UVVH, see there.

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
        intermediate: size of t_p (Eq. 11, Table I); 0 leaves it out.
        dropout: rate on t_p, t_hat and the decoder LSTM's output (this project's choice).
        start_at_mean: the read-out's biases start at the training set's mean frame, as in UVVH (this project's
            choice); off: at 0.
    """

    name = "bl2"
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
        intermediate: int = 4096,
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
        self.intermediate = intermediate
        self.dropout = dropout
        self.start_at_mean = start_at_mean

    def build(self, frames: int, dim: int) -> nn.Module:
        """Return the LSTM encoder and the LSTM decoder."""
        return Autoencoder(
            Encoder(self.bits, dim),
            Decoder(self.bits, frames, dim, self.intermediate, self.dropout),
        )


class Encoder(nn.Module):
    """An LSTM over the frames, then the heads of Eq. 4 and 5 on its last hidden state."""

    def __init__(self, bits: int, dim: int):
        super().__init__()
        self.lstm = LSTM(dim, HIDDEN)
        self.heads = Heads(HIDDEN, bits)

    def forward(self, videos: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Map (batch, frames, dim) to mu and log sigma, each (batch, bits)."""
        heads: tuple[torch.Tensor, torch.Tensor] = self.heads(self.lstm(videos)[:, -1].tanh())
        return heads


class Decoder(nn.Module):
    """Code -> t_p -> t_hat (Eq. 11, 12) -> frames by an LSTM that reads P(t_hat), then each frame that it made."""

    def __init__(self, bits: int, frames: int, dim: int, intermediate: int, dropout: float):
        super().__init__()
        self.frames = frames
        self.project = projection(bits, intermediate, HIDDEN, dropout)
        self.to_frame = nn.Linear(HIDDEN, dim)  # P of Section III-C
        self.lstm = LSTM(dim, HIDDEN)  # the weights only; `forward` runs it
        self.dropout = nn.Dropout(dropout)
        self.read_out = nn.Linear(HIDDEN, dim)

    @property
    def output_bias(self) -> nn.Parameter:
        """Bias of the last layer, shape (dim,)."""
        return self.read_out.bias

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        """Map codes (batch, bits) to reconstructed frames (batch, frames, dim)."""
        lstm, read_out = self.lstm, self.read_out
        bias = lstm.bias_ih_l0 + lstm.bias_hh_l0
        gates = nn.functional.linear(self.to_frame(self.project(h)), lstm.weight_ih_l0, bias)
        # Reading a frame back, W_ih (W_out x + b_out), is one small product with W_ih W_out. At batch 256 and 25 frames
        # of 4096 dimensions that takes 3e9 multiplications a forward pass instead of 26e9; the frames themselves are
        # made in one product at the end.
        feedback = (lstm.weight_ih_l0 @ read_out.weight).t()
        feedback_bias = nn.functional.linear(read_out.bias, lstm.weight_ih_l0, bias)
        state = c = h.new_zeros(len(h), HIDDEN)
        outputs: list[torch.Tensor] = []
        for step in range(self.frames):
            if step:
                gates = outputs[-1] @ feedback + state @ lstm.weight_hh_l0.t() + feedback_bias
            i, f, g, o = gates.chunk(4, 1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            state = o.sigmoid() * c.tanh()
            outputs.append(self.dropout(state))
        frames: torch.Tensor = read_out(torch.stack(outputs, 1))
        return frames
