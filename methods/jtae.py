"""JTAE, reconstructed: from one binary code, an LSTM decodes the frames and linear heads decode their appearance.

Li, Yang, Cao, Huang: Jointly Modeling Static Visual Appearance and Temporal Pattern for Unsupervised Video Hashing,
ACM Conference on Information and Knowledge Management (CIKM) 2017. There is no released code, and the text was out of
reach: what follows is built from the two sentences on it in Li et al., UVVH (IV-D), and is marked as reconstructed.
"""

from __future__ import annotations

import torch
from torch import nn

from vhbench.errors import MethodError
from vhbench.method import FitContext, Tags
from vhbench.methods.layers import sign_ste
from vhbench.methods.projection import mean_of
from vhbench.methods.recurrent import Decoder, PeepholeLSTM, ReadOut, Target, target
from vhbench.training import Moment, NeuralMethod
from vhbench.videos import VideoSet


class JTAE(NeuralMethod):
    """JTAE (reconstructed, no code published): binary LSTM encoder, LSTM and appearance decoders (2017).

    From UVVH's description: an LSTM autoencoder whose forward LSTM decoder takes up the temporal information, while
    fully connected layers reconstruct each frame's appearance. The rest is this project's choice, and so is any
    difference from published numbers:

    - The encoder is SSTH's binary LSTM: its hidden state is binarised at every step, the last one is the code.
    - The temporal decoder is SSTH's forward decoder: it starts from the code and a zero cell and reads no frame.
    - The appearance decoder is one linear layer for each frame position. A layer that all frames share can only
      reconstruct the mean frame: `appearance="shared"`.
    - The loss adds the two squared errors, each as in UVVH's Eq. 15.
    - Optimiser, batch size and epochs are not known: Adam, batch size and epochs are UVVH's, for a like comparison. The
      learning rate was chosen by training loss (`docs/methods.md`): within the 120 steps of a short training on
      ucf101-14, 1e-4 moves no weight of a read-out by more than 0.012, and the loss only from 2,966, which the mean
      frame gives, to 2,869; 3e-4 and 1e-3 both end at 2,626. At 1e-3 the gates, which see a thousand active
      dimensions, saturate before the read-outs have grown, and bits become constant.
    - The read-outs' biases start at the training set's mean frame (`start_at_mean`), as in UVVH here.

    Args:
        bits: code length k, and hidden units of each LSTM.
        epochs: passes over the training set (as UVVH).
        batch_size: videos a step (as UVVH).
        lr: Adam's learning rate (by training loss, see above).
        weight_decay: L2 term of Adam (as UVVH).
        appearance: "per_frame" (this project's choice) or "shared", see above.
        appearance_weight: weight of the appearance decoder's error (this project's choice).
        start_at_mean: the read-outs' biases start at the training set's mean frame (this project's choice); off: at 0.
    """

    name = "jtae"
    reference = "Li, Yang, Cao, Huang, ACM CIKM 2017 (reconstructed)"
    tags = Tags()

    def __init__(
        self,
        bits: int,
        *,
        epochs: int = 80,
        batch_size: int = 256,
        lr: float = 3e-4,
        weight_decay: float = 1e-4,
        appearance: str = "per_frame",
        appearance_weight: float = 1.0,
        start_at_mean: bool = True,
    ):
        self.bits = bits
        self.epochs = epochs
        self.batch_size = batch_size
        self.lr = lr
        self.weight_decay = weight_decay
        self.appearance = appearance
        self.appearance_weight = appearance_weight
        self.start_at_mean = start_at_mean

    def build(self, frames: int, dim: int) -> nn.Module:
        """Return the encoder and the two decoders."""
        if self.appearance not in ("per_frame", "shared"):
            raise MethodError(f"appearance={self.appearance!r} is unknown: choose 'per_frame' or 'shared'.")
        return Network(self.bits, frames, dim, heads=frames if self.appearance == "per_frame" else 1)

    def prepare(self, module: Network, train: VideoSet, ctx: FitContext) -> None:
        """Start the read-outs at the training set's mean frame."""
        if self.start_at_mean:
            mean = torch.from_numpy(mean_of(train.mean_frames()))
            module.temporal.read_out.start_at(mean)
            module.appearance.start_at(mean)

    def loss(self, module: Network, videos: torch.Tensor, moment: Moment) -> dict[str, torch.Tensor]:
        """Return both decoders' squared errors: summed over dimensions, averaged over frames and videos."""
        _, steps, dim = videos.shape
        whole = target(videos.flatten(1))
        frames = Target(whole.rows.view(-1, dim), whole.mean.view(steps, dim).mean(0), whole.power / steps)
        hidden, _ = module.encoder(whole.rows.view_as(videos))
        code = sign_ste(hidden[:, -1])
        if self.appearance == "per_frame":
            appearance = module.appearance.error(code, whole) / steps
        else:  # the same sum: frames that share a reconstruction act through their mean
            appearance = module.appearance.error(code, target(videos.mean(1))._replace(power=frames.power))
        return {
            "temporal": module.temporal.read_out.error(module.temporal(code).flatten(0, 1), frames),
            "appearance": self.appearance_weight * appearance,
        }

    def codes(self, module: Network, videos: torch.Tensor) -> torch.Tensor:
        """Return the sign of the last hidden state as bool."""
        hidden, _ = module.encoder(videos)
        return hidden[:, -1] >= 0  # type: ignore[no-any-return]


class Network(nn.Module):
    """Binary LSTM, forward decoder, and linear appearance heads."""

    def __init__(self, bits: int, frames: int, dim: int, *, heads: int):
        super().__init__()
        self.encoder = PeepholeLSTM(dim, bits, frames, binary=True)
        self.temporal = Decoder(bits, frames, dim)
        self.appearance = ReadOut(bits, dim, heads)
