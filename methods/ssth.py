"""SSTH: a binary LSTM encodes a video; LSTMs play it forwards and rewind it from the code.

Zhang, Wang, Hong, Chua: Play and Rewind: Optimizing Binary Representations of Videos by Self-Supervised Temporal
Hashing, ACM Multimedia 2016. "The code" below is the authors' (hanwangzhang/BLSTM).
"""

from __future__ import annotations

import torch
from torch import nn

from vhbench.method import FitContext, Tags
from vhbench.methods.layers import sign_ste
from vhbench.methods.projection import mean_of
from vhbench.methods.recurrent import Decoder, PeepholeLSTM, target
from vhbench.training import Moment, NeuralMethod
from vhbench.videos import VideoSet


class SSTH(NeuralMethod):
    """Self-supervised temporal hashing: binary LSTM encoder, forward and reverse LSTM decoders (2016).

    The encoder's hidden state is binarised at every step; the last one is the code. From it, decoders with as many
    hidden units as bits reconstruct the frames in order, the frames in reverse order, and the mean frame.

    Differences from the paper or its code, and why:

    - A decoder starts from the code and a zero cell. The code starts it from the encoder's real-valued cell, too, so
      that more than the bits crosses the bottleneck: `leak_cell=True`.
    - The mean-frame decoder is in the code, not in the description by later papers: `mean_weight=0` leaves it out.
    - The code's loss sums over videos, frames and dimensions; here the same sum is divided by the number of frames in
      the batch, as in UVVH's Eq. 15. The terms keep their proportions: `mean_weight` multiplies a sum over videos
      where the other terms sum over frames, so it counts `mean_weight / frames` against their means (8 at 25 frames).
    - Adam, which the code offers beside its default: SGD whose every step is clipped to at most 1e-4 a weight, which is
      not offered here. The learning rate is the code's for both. On a small set the training loss falls further at a
      larger one (`docs/methods.md`).
    - No weight decay: the code's 1e-4 / 2 acts on the summed loss; on the mean it would be 4e-8 and do nothing.
    - The read-outs' biases start at the training set's mean frame, as in UVVH here (`start_at_mean`): on a small set
      most of the training would go into learning it.
    - Batch norm is as `PeepholeLSTM` says.

    Args:
        bits: code length k, and hidden units of each LSTM.
        epochs: passes over the training set (the code's 20,000 steps are 44 epochs of FCVID).
        batch_size: videos a step (code).
        lr: Adam's learning rate (code).
        weight_decay: L2 term of Adam (this project's choice, see above).
        mean_weight: weight of the mean frame's error relative to a frame's in the code's sums (code: 200).
        leak_cell: start the decoders from the encoder's last cell, as released (this project's choice: off).
        start_at_mean: the read-outs' biases start at the training set's mean frame; off: at 0, as in the code.
    """

    name = "ssth"
    reference = "Zhang, Wang, Hong, Chua, ACM Multimedia 2016"
    tags = Tags()

    def __init__(
        self,
        bits: int,
        *,
        epochs: int = 44,
        batch_size: int = 100,
        lr: float = 1e-3,
        weight_decay: float = 0.0,
        mean_weight: float = 200.0,
        leak_cell: bool = False,
        start_at_mean: bool = True,
    ):
        self.bits = bits
        self.epochs = epochs
        self.batch_size = batch_size
        self.lr = lr
        self.weight_decay = weight_decay
        self.mean_weight = mean_weight
        self.leak_cell = leak_cell
        self.start_at_mean = start_at_mean

    def build(self, frames: int, dim: int) -> nn.Module:
        """Return the encoder and the decoders."""
        return Network(self.bits, frames, dim, mean=self.mean_weight > 0)

    def prepare(self, module: Network, train: VideoSet, ctx: FitContext) -> None:
        """Start the read-outs at the training set's mean frame."""
        if self.start_at_mean:
            mean = torch.from_numpy(mean_of(train.mean_frames()))
            for decoder in filter(None, (module.play, module.rewind, module.mean)):
                decoder.read_out.start_at(mean)

    def loss(self, module: Network, videos: torch.Tensor, moment: Moment) -> dict[str, torch.Tensor]:
        """Return a third of each decoder's squared error: summed over dimensions, averaged over frames and videos."""
        frames = target(videos.flatten(0, 1))
        hidden, cell = module.encoder(frames.rows.view_as(videos))
        start = sign_ste(hidden[:, -1]), cell if self.leak_cell else None
        forwards = module.play(*start).flatten(0, 1)
        backwards = module.rewind(*start).flip(1).flatten(0, 1)
        terms = {
            "forward": module.play.read_out.error(forwards, frames) / 3,
            "reverse": module.rewind.read_out.error(backwards, frames) / 3,
        }
        if module.mean is not None:
            weight = self.mean_weight / videos.shape[1]
            mean = module.mean(*start).flatten(0, 1)
            terms["mean"] = weight * module.mean.read_out.error(mean, target(videos.mean(1))) / 3
        return terms

    def codes(self, module: Network, videos: torch.Tensor) -> torch.Tensor:
        """Return the sign of the last hidden state as bool."""
        hidden, _ = module.encoder(videos)
        return hidden[:, -1] >= 0  # type: ignore[no-any-return]


class Network(nn.Module):
    """Binary LSTM, and decoders with weights of their own."""

    def __init__(self, bits: int, frames: int, dim: int, *, mean: bool):
        super().__init__()
        self.encoder = PeepholeLSTM(dim, bits, frames, binary=True)
        self.play = Decoder(bits, frames, dim)
        self.rewind = Decoder(bits, frames, dim)
        self.mean = Decoder(bits, 1, dim) if mean else None
