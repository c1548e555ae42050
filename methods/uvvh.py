"""UVVH: a 1D-CNN encoder, a variational binary code, and a decoder of transposed convolutions and an LSTM.

Li, Chen, Li, Lu, Zhou: Unsupervised Variational Video Hashing with 1D-CNN-LSTM Networks, IEEE Transactions on
Multimedia, 2020. Section, table and equation numbers below are that paper's.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import nn

from vhbench.errors import MethodError
from vhbench.method import Tags
from vhbench.methods.layers import LSTM, FrameBatchNorm, TemporalConv, TemporalDeconv
from vhbench.methods.variational import Autoencoder, Heads, VariationalHashing, projection

CHANNELS = (512, 512, 256)  # Table I
LSTM_HIDDEN = 256  # Table I
STRIDE = 2  # Table I


class UVVH(VariationalHashing):
    """Variational video hashing: 1D-CNN encoder, deconvolution and LSTM decoder (2020).

    Training has two stages (IV-C): first deterministic, z = mu and no prior term; then probabilistic, z sampled from
    the posterior (Eq. 8) with the KL term (Eq. 6). Codes are sign(mu).

    Differences from the printed paper, and why:

    - Table I's kernels of 4 do not give its lengths 25 -> 10 -> 4 -> 1; `lengths="mirror"` uses 7, 4, 4 and the
      decoder's mirror image, which does, and reads every frame. `"literal"` keeps kernels of 4 and pads the decoder.
    - Eq. 7's minus sign is a misprint: the posterior must approach the prior, so the KL term is added.
    - Eq. 5's head is log sigma, clamped to [-8, 4]. The third convolution has no tanh of its own: Eq. 4 and 5 apply it.
    - The dropout rate is not printed; 0.1 on t_p, t_hat and the LSTM's output is this project's choice.
    - How biases start is not printed. The read-out's start at the training set's mean frame (`start_at_mean`), others
      at 0: the steps that learning the mean would take are few on FCVID, but much of the training on a small set.
    - The weight of the quantisation term in Eq. 19 is not printed; 0.1 is this project's choice.

    The paper has one setting for all data sets (IV-C), so its presets change nothing.

    On small sets, or where one direction of the features has much of their variance, the published recipe may end with
    bits that are copies of each other. Two hyper-parameters help, found by training loss and by the audit of the
    training videos' codes alone; both are as published by default:

    - `encoder_lr_factor=0.1`. With one learning rate for all, every bit turns to the strongest direction before the
      decoder has learnt it from a few of them; |mu| then soon passes 1, where the straight-through gradient is 0. A
      slower encoder lets bits part. On 1,341 videos (ucf101-14, 64 bits, 20 epochs) the error ends at 950 a frame for
      1,009.
    - `kl_weight` in proportion to the features' squared deviation from their mean, which is some 1,500 a frame for
      VGG-16 features. Where it is 17, the KL term of 64 bits costs more than all that a reconstruction can gain, and
      the second stage gives the code up; 0.01 keeps it.

    Args:
        bits: code length k.
        epochs: passes over the training set (IV-C: 80).
        warmup: share of the epochs in the deterministic first stage (IV-C: 50 of 80).
        batch_size: videos a step (IV-C).
        lr: Adam's learning rate (IV-C).
        encoder_lr_factor: the encoder's share of it (IV-C: one rate), see above.
        weight_decay: L2 term of Adam (IV-C).
        kl_weight: alpha_1 of Eq. 2 in the second stage (IV-C).
        recon_weight: alpha_2 of Eq. 2 (IV-C).
        intermediate: size of t_p (Eq. 11, Table I); 0 leaves it out (Table VI).
        dropout: rate in the decoder (the rate is this project's choice).
        quantization_weight: alpha_3 of Eq. 19 (`uvvh-q`'s is this project's choice); above 0 the decoder sees z and
            there is no straight-through gradient.
        lengths: "mirror" (this project's choice) or "literal" (Table I), see above.
        start_at_mean: the read-out's biases start at the training set's mean frame (this project's choice); off: at 0.
    """

    name = "uvvh"
    reference = "Li, Chen, Li, Lu, Zhou, IEEE Transactions on Multimedia 2020"
    tags = Tags(min_frames=8)
    variants: ClassVar[dict[str, tuple[str, dict[str, Any]]]] = {
        "uvh": ("UVVH without the variational stage: z = mu throughout (Section IV-E)", {"warmup": 1.0}),
        "uvvh-1": ("UVVH in one stage: variational from the first epoch (Section IV-E)", {"warmup": 0.0}),
        "uvvh-nopro": ("UVVH without the high-dimensional projection t_p (Table VI)", {"intermediate": 0}),
        "uvvh-q": ("UVVH with a quantisation loss instead of the STE (Eq. 18)", {"quantization_weight": 0.1}),
    }

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
        quantization_weight: float = 0.0,
        lengths: str = "mirror",
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
        self.quantization_weight = quantization_weight
        self.lengths = lengths
        self.start_at_mean = start_at_mean

    def build(self, frames: int, dim: int) -> nn.Module:
        """Return the encoder and decoder of Table I."""
        kernels, padding = geometry(frames, self.lengths)
        encoder = Encoder(self.bits, dim, kernels)
        decoder = Decoder(self.bits, dim, kernels, padding, self.intermediate, self.dropout)
        return Autoencoder(encoder, decoder)


def geometry(frames: int, lengths: str = "mirror") -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """Return the encoder's three kernel lengths and the decoder's three output paddings; all strides are 2.

    Args:
        frames: frames a video (m).
        lengths: "mirror": kernels chosen so that the lengths shrink to 1 with every frame read and grow back to m;
            "literal": kernels of 4 as printed in Table I.

    Raises:
        MethodError: no such geometry exists.
    """
    if lengths == "mirror":
        if frames < 8:
            raise MethodError(f"Three convolutions over time need at least 8 frames a video; these have {frames}.")
        first, rest = (18, (4, 4)) if frames >= 20 else (10, (4, 2)) if frames >= 14 else (6, (2, 2))
        # the first stride drops an odd frame unless the kernel's length takes it up, which `frames - first` does
        return (frames - first, *rest), (0, 0, 0)
    if lengths == "literal":
        after = [frames]
        for _ in range(3):
            after.append((after[-1] - 4) // STRIDE + 1)
        if after[-1] != 1:
            raise MethodError(f"lengths='literal' fits videos of 22 to 29 frames; these have {frames}.")
        wanted, shorter = after[2::-1], after[3:0:-1]
        padding = [w - ((s - 1) * STRIDE + 4) for w, s in zip(wanted, shorter, strict=True)]
        return (4, 4, 4), (padding[0], padding[1], padding[2])
    raise MethodError(f"lengths={lengths!r} is unknown: choose 'mirror' or 'literal'.")


class Encoder(nn.Module):
    """Three convolutions over time, then the heads of Eq. 4 and 5."""

    def __init__(self, bits: int, dim: int, kernels: tuple[int, int, int]):
        super().__init__()
        a, b, c = CHANNELS
        self.layers = nn.Sequential(
            TemporalConv(dim, a, kernels[0], STRIDE),
            FrameBatchNorm(a),
            nn.Tanh(),
            TemporalConv(a, b, kernels[1], STRIDE),
            FrameBatchNorm(b),
            nn.Tanh(),
            TemporalConv(b, c, kernels[2], STRIDE),
            FrameBatchNorm(c),
            nn.Tanh(),
        )
        self.heads = Heads(c, bits)

    def forward(self, videos: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Map (batch, frames, dim) to mu and log sigma, each (batch, bits)."""
        heads: tuple[torch.Tensor, torch.Tensor] = self.heads(self.layers(videos).flatten(1))
        return heads


class Deconvolution(nn.Module):
    """Code -> t_p -> t_hat (Eq. 11, 12) -> coarse frames by transposed convolutions.

    Args:
        bits: code length k.
        dim: feature dimensions a frame (l).
        kernels: the encoder's kernel lengths.
        padding: output paddings, in the decoder's order.
        intermediate: size of t_p; 0 leaves it out.
        dropout: rate on t_p and t_hat.
        bounded: batch normalisation and tanh after the last layer too, as in Table I.
    """

    def __init__(
        self,
        bits: int,
        dim: int,
        kernels: tuple[int, int, int],
        padding: tuple[int, int, int],
        intermediate: int,
        dropout: float,
        bounded: bool = True,
    ):
        super().__init__()
        a, b, c = CHANNELS
        self.project = projection(bits, intermediate, c, dropout)
        self.layers = nn.Sequential(
            TemporalDeconv(c, b, kernels[2], STRIDE, padding[0]),
            FrameBatchNorm(b),
            nn.Tanh(),
            TemporalDeconv(b, a, kernels[1], STRIDE, padding[1]),
            FrameBatchNorm(a),
            nn.Tanh(),
            TemporalDeconv(a, dim, kernels[0], STRIDE, padding[2]),
        )
        if bounded:
            self.layers.extend([FrameBatchNorm(dim), nn.Tanh()])

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        """Map codes (batch, bits) to coarse frames (batch, frames, dim)."""
        coarse: torch.Tensor = self.layers(self.project(h).unsqueeze(1))
        return coarse


class Decoder(Deconvolution):
    """Coarse frames by transposed convolutions, then frames by an LSTM (Eq. 14)."""

    def __init__(
        self,
        bits: int,
        dim: int,
        kernels: tuple[int, int, int],
        padding: tuple[int, int, int],
        intermediate: int,
        dropout: float,
    ):
        super().__init__(bits, dim, kernels, padding, intermediate, dropout)
        self.to_frame = nn.Linear(CHANNELS[-1], dim)  # P of Section III-C
        self.lstm = LSTM(dim, LSTM_HIDDEN)
        self.dropout = nn.Dropout(dropout)
        self.read_out = nn.Linear(LSTM_HIDDEN, dim)

    @property
    def output_bias(self) -> nn.Parameter:
        """Bias of the last layer, shape (dim,)."""
        return self.read_out.bias

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        """Map codes (batch, bits) to reconstructed frames (batch, frames, dim)."""
        t_hat = self.project(h).unsqueeze(1)
        coarse = self.layers(t_hat)
        # Eq. 14: step 1 reads P(t_hat), step j reads the coarse frame j - 1; the last coarse frame is not used
        steps = torch.cat([self.to_frame(t_hat), coarse[:, :-1]], dim=1)
        frames: torch.Tensor = self.read_out(self.dropout(self.lstm(steps)))
        return frames
