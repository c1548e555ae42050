"""BL3: UVVH without the LSTM, so that the transposed convolutions alone reconstruct the frames.

Li, Chen, Li, Lu, Zhou: Unsupervised Variational Video Hashing with 1D-CNN-LSTM Networks, IEEE Transactions on
Multimedia, 2020, Section IV-E (Table V). Section, table and equation numbers below are that paper's.
"""

from __future__ import annotations

from typing import Any, ClassVar, cast

from torch import nn

from vhbench.method import FitContext, Tags
from vhbench.methods.layers import TemporalDeconv
from vhbench.methods.uvvh import Deconvolution, Encoder, geometry
from vhbench.methods.variational import Autoencoder, VariationalHashing
from vhbench.videos import VideoSet


class BL3(VariationalHashing):
    """Variational video hashing with convolutions only: UVVH without the LSTM decoder (2020).

    The reconstruction loss is on the frames that the transposed convolutions make (Eq. 17). The encoder, the code, the
    two stages and the other loss term are UVVH's.

    Differences from the printed paper, and why:

    - Read literally, Table I and Section IV-C end the decoder in batch normalisation and tanh. In UVVH a linear map
      follows; here nothing does, and activations above 1 could not be reconstructed. So the last transposed convolution
      is linear, unless `bounded` asks for the literal reading.
    - The kernels, the sign of Eq. 7, the clamped log sigma, the dropout rate and the first biases are as in UVVH, see
      there; dropout is on t_p and t_hat.

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
        dropout: rate in the decoder (this project's choice).
        lengths: "mirror" or "literal", as in UVVH.
        bounded: end the decoder in batch normalisation and tanh, see above (this project's choice: off).
        start_at_mean: the last biases start at the training set's mean frame, as in UVVH (this project's
            choice); off: at 0. No effect where `bounded`: batch normalisation takes the mean away.
    """

    name = "bl3"
    reference = "Li, Chen, Li, Lu, Zhou, IEEE Transactions on Multimedia 2020"
    tags = Tags(min_frames=8)

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
        lengths: str = "mirror",
        bounded: bool = False,
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
        self.lengths = lengths
        self.bounded = bounded
        self.start_at_mean = start_at_mean

    def build(self, frames: int, dim: int) -> nn.Module:
        """Return UVVH's encoder and its decoder as far as the coarse frames."""
        kernels, padding = geometry(frames, self.lengths)
        encoder = Encoder(self.bits, dim, kernels)
        decoder = Decoder(self.bits, dim, kernels, padding, self.intermediate, self.dropout, self.bounded)
        return Autoencoder(encoder, decoder)

    def prepare(self, module: Autoencoder, train: VideoSet, ctx: FitContext) -> None:
        """Start the decoder's output at the mean frame where the last layer is linear."""
        if not self.bounded:
            super().prepare(module, train, ctx)


class Decoder(Deconvolution):
    """UVVH's coarse frames as the result."""

    @property
    def output_bias(self) -> nn.Parameter:
        """Bias of the last layer, shape (dim,)."""
        return cast(TemporalDeconv, self.layers[-1]).bias
