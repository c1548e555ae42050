"""SSVH: a binary auto-encoder of two levels in time, with a loss that keeps neighbouring videos together.

Song, Zhang, Li, Gao, Wang, Hong: Self-Supervised Video Hashing with Hierarchical Binary Auto-Encoder, IEEE Transactions
on Image Processing 27 (7), 2018. "Released" below means the authors' code, which some of the choices are taken from.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse
import torch
from torch import nn

from vhbench.method import FitContext, Tags
from vhbench.methods.layers import sign, sign_ste
from vhbench.methods.neighbourhood import neighbourhood
from vhbench.methods.read_out import pack, squared_error
from vhbench.methods.recurrent import PeepholeLSTM
from vhbench.training import Moment, NeuralMethod
from vhbench.videos import VideoSet

STRIDE = 2  # frames a step of the upper level (released)
BLOCK = 8192  # rows of the bank cast to float64 at a time


class SSVH(NeuralMethod):
    """Hierarchical binary LSTM auto-encoder, trained with a neighbourhood of the training videos (2018).

    Three decoders read the code: one gives the frames in order, one in reverse, one their mean. The neighbourhood
    (`vhbench.methods.neighbourhood`) comes from the mean frames; the pairwise loss pulls the last hidden states h of
    neighbours together, against a bank of every training video's h when it was last seen. The minimised loss is

        [ w (sum_ij (h_i . h_j / k - s_ij)^2 + q sum_i ||h_i - sign(h_i)||^2)
          + (1 - w) / 3 (forward + reverse + m mean) ] / batch

    with i in the batch, j in the training set, and sums of squared errors for the decoders.

    Differences from the paper and from the released code, and why:

    - s_ij is 1 for neighbours and 0 otherwise, and the pairwise term acts on h, as released. The paper's text, which
      was not at hand, is said to have codes in place of h, and s_ij in {-1, +1}: `dissimilar=-1` gives that s_ij.
    - The loss is divided by the videos of the batch. The released loss is their sum; weights and gradient directions
      stay, and the logged loss does not depend on the batch size.
    - Adam, which the released code offers; its default is SGD with a velocity clipped to 1e-4 a weight. No weight
      decay: the released 1e-4 / 2 acts on the sum, some 1e6, so beside a loss a video it is negligible.
    - The decoders start from the code and a cell of zeros. The released ones get the encoder's real-valued cell too,
      which passes by the binary code: `leak_cell=True`.
    - The forward decoder reads its own upper level. In the released code its lower level takes every second input from
      the reverse decoder's upper level by mistake: `crossed_decoders=True`.
    - As released, the network reads an even number of frames and drops an odd last one (24 of 25); the neighbourhood
      is of all frames.
    - A bit is h >= 0 everywhere in vhbench; the released code has h > 0.
    - The last batch of an epoch is smaller; the released code fills it with zeros, which enter its batch statistics.

    Args:
        bits: code length k; all LSTMs have as many hidden units (released).
        epochs: passes over the training set (released).
        batch_size: videos a step (released).
        lr: Adam's learning rate (released, for SGD and Adam). It bounds how far a weight can move: 1.8 in the 17,900
            steps on FCVID, 0.06 in 600 steps on 1,341 videos. On a small set the training loss falls further at a
            larger one (`docs/methods.md`).
        weight_decay: L2 term of Adam (this project's choice, see above).
        k1: neighbours of a video (released).
        k2: neighbours' lists that are united (released).
        dissimilar: s_ij of videos that are not neighbours: 0 (released) or -1 (the paper).
        pairwise_weight: w, the share of the pairwise loss; the reconstruction has the rest (released).
        quantization_weight: q (released).
        leak_cell: start the decoders from the encoder's cell, see above (this project's choice: off; released: on).
        crossed_decoders: repeat the released forward decoder's mistake, see above (this project's choice: off).
    """

    name = "ssvh"
    reference = "Song, Zhang, Li, Gao, Wang, Hong, IEEE Transactions on Image Processing 2018"
    tags = Tags(min_frames=STRIDE)

    def __init__(
        self,
        bits: int,
        *,
        epochs: int = 100,
        batch_size: int = 256,
        lr: float = 1e-4,
        weight_decay: float = 0.0,
        k1: int = 10,
        k2: int = 5,
        dissimilar: float = 0.0,
        pairwise_weight: float = 0.999,
        quantization_weight: float = 0.2,
        leak_cell: bool = False,
        crossed_decoders: bool = False,
    ):
        self.bits = bits
        self.epochs = epochs
        self.batch_size = batch_size
        self.lr = lr
        self.weight_decay = weight_decay
        self.k1 = k1
        self.k2 = k2
        self.dissimilar = dissimilar
        self.pairwise_weight = pairwise_weight
        self.quantization_weight = quantization_weight
        self.leak_cell = leak_cell
        self.crossed_decoders = crossed_decoders

    def build(self, frames: int, dim: int) -> nn.Module:
        """Return the encoder and the three decoders for the largest even number of frames."""
        return Network(self.bits, frames // STRIDE, dim, leak_cell=self.leak_cell, crossed=self.crossed_decoders)

    def prepare(self, module: Network, train: VideoSet, ctx: FitContext) -> None:
        """Find the neighbours of the training videos."""
        similar = neighbourhood(train.mean_frames(), self.k1, self.k2, ctx.device)
        module.pairs = PairwiseLoss(similar, self.bits, self.dissimilar).to(ctx.device)

    def start_epoch(self, module: Network, train: VideoSet, moment: Moment) -> None:
        """Sum the bank up again, so that rounding does not accumulate from epoch to epoch."""
        module.pairs.recount()

    def loss(self, module: Network, videos: torch.Tensor, moment: Moment) -> dict[str, torch.Tensor]:
        """Return the terms of the loss, a video."""
        videos = videos[:, : module.frames]
        packed = pack(videos)
        hidden, cell = module.encode(packed)
        pairwise = self.pairwise_weight / len(videos)
        quantization = (hidden - sign(hidden).detach()).square().sum()
        return {
            "pairwise": pairwise * module.pairs(hidden, moment.rows),
            "quantization": pairwise * self.quantization_weight * quantization,
            "recon": (1 - self.pairwise_weight) / len(videos) * module.reconstruction(videos, packed, hidden, cell),
        }

    def codes(self, module: Network, videos: torch.Tensor) -> torch.Tensor:
        """Return the signs of the last hidden state as bool."""
        hidden, _ = module.encode(videos[:, : module.frames])
        return hidden >= 0


class Network(nn.Module):
    """Encoder of two levels and three decoders; the upper level takes one step where the lower takes `STRIDE`."""

    pairs: PairwiseLoss

    def __init__(self, bits: int, steps: int, dim: int, *, leak_cell: bool = False, crossed: bool = False):
        super().__init__()
        self.frames = STRIDE * steps
        self.leak_cell, self.crossed = leak_cell, crossed
        self.lower = PeepholeLSTM(dim, bits, self.frames)
        self.upper = PeepholeLSTM(bits, bits, steps, binary=True)
        self.ahead = Decoder(bits, steps, STRIDE, dim)
        self.reverse = Decoder(bits, steps, STRIDE, dim)
        self.mean = Decoder(bits, 1, 1, dim)

    def encode(self, videos: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Map (batch, frames, dim) to the upper level's last hidden state, before its sign, and last cell."""
        fine, _ = self.lower(videos)
        coarse, cell = self.upper(fine[:, STRIDE - 1 :: STRIDE])
        return coarse[:, -1], cell

    def decode(self, hidden: torch.Tensor, cell: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Map the encoder's last state to what each decoder's read-out sees.

        Returns:
            The lower hidden states for the frames in order, in reverse (the last frame first), both
            (batch, frames, bits), and for their mean, (batch, 1, bits).
        """
        state = sign_ste(hidden), cell if self.leak_cell else torch.zeros_like(cell)
        ahead, _ = self.ahead.upper(None, state)
        reverse, _ = self.reverse.upper(None, state)
        mean, _ = self.mean.upper(None, state)
        inputs = torch.stack([ahead, reverse if self.crossed else ahead], 2).flatten(1, 2)
        return (
            self.ahead.lower(inputs)[0],
            self.reverse.lower(reverse.repeat_interleave(STRIDE, 1))[0],
            self.mean.lower(mean)[0],
        )

    def reconstruction(
        self, videos: torch.Tensor, packed: torch.Tensor, hidden: torch.Tensor, cell: torch.Tensor
    ) -> torch.Tensor:
        """Return the summed squared errors of the decoders, a third each; the mean's counts as often as the frames.

        Args:
            videos: frames (batch, frames, dim).
            packed: the same as `pack` returns them.
            hidden: the encoder's last hidden state (batch, bits).
            cell: its last cell (batch, bits).
        """
        ahead, reverse, mean = self.decode(hidden, cell)
        average = videos.mean(1)
        size, total = torch.linalg.vector_norm(videos).square(), self.frames * average.sum(0)
        decoded: torch.Tensor = self.mean.read_out(mean[:, 0])
        error = self.frames * (average - decoded.to(average.dtype)).square().sum()
        # the hidden states are reversed, not the frames, which are some 64 times as large
        for states, decoder in ((ahead, self.ahead), (reverse.flip(1), self.reverse)):
            error = error + squared_error(packed, size, total, states, decoder.read_out)
        return error / 3


class Decoder(nn.Module):
    """Upper level without input, started from the code; lower level that reads it; linear read-out of frames."""

    def __init__(self, bits: int, steps: int, stride: int, dim: int):
        super().__init__()
        self.upper = PeepholeLSTM(0, bits, steps, tanh=True)
        self.lower = PeepholeLSTM(bits, bits, stride * steps)
        self.read_out = nn.Linear(bits, dim)
        nn.init.xavier_uniform_(self.read_out.weight)
        nn.init.zeros_(self.read_out.bias)


class PairwiseLoss(nn.Module):
    """sum_ij (h_i . h_j / k - s_ij)^2 for i in a batch and j in the training set, without a matrix of that size.

    h_j comes from a bank of what each video had when it was last seen, zeros at first, and for j in the batch from the
    batch itself; the gradient reaches both factors there. With G = sum_j h_j h_j^T (k x k), kept from step to step, and
    s_ij = 1 for neighbours (the set S) and a for others, and p_ij = h_i . h_j / k, the sum is

        <sum_i h_i h_i^T, G> / k^2 - 2 (1 - a) sum_S p_ij - 2 a sum_ij p_ij + (1 - a^2) |S| + a^2 batch videos.

    All state is in non-persistent buffers. G is kept in float64, and `recount` computes it afresh.

    Args:
        similar: the neighbourhood S of the training videos, boolean (videos, videos).
        bits: code length k.
        dissimilar: a.
    """

    starts: torch.Tensor
    neighbours: torch.Tensor
    bank: torch.Tensor
    gram: torch.Tensor
    total: torch.Tensor

    def __init__(self, similar: scipy.sparse.csr_array, bits: int, dissimilar: float = 0.0):
        super().__init__()
        self.dissimilar = dissimilar
        buffers = {
            "starts": torch.from_numpy(similar.indptr.astype("int64")),
            "neighbours": torch.from_numpy(similar.indices.astype("int64")),
            "bank": torch.zeros(similar.shape[0], bits),
            "gram": torch.zeros(bits, bits, dtype=torch.float64),
            "total": torch.zeros(bits, dtype=torch.float64),
        }
        for name, buffer in buffers.items():
            self.register_buffer(name, buffer, persistent=False)
        most_first = np.sort(np.diff(similar.indptr))[::-1]
        self.most_pairs = [0, *most_first.cumsum().tolist()]  # neighbours of so many videos at most

    @torch.no_grad()
    def recount(self) -> None:
        """Compute G and the sum over the bank from the bank."""
        self.gram.zero_()
        self.total.zero_()
        for block in torch.split(self.bank, BLOCK):
            self._count(block, 1)

    def forward(self, hidden: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """Return the sum for a batch, and put the batch into the bank.

        Args:
            hidden: h of the batch's videos, real-valued, shape (batch, bits).
            rows: their positions in the training set, int64, shape (batch,), all different.
        """
        with torch.autocast(hidden.device.type, enabled=False):
            return self._forward(hidden.to(self.bank.dtype), rows)

    def _forward(self, hidden: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        batch, bits = hidden.shape
        with torch.no_grad():
            self._count(self.bank[rows], -1)
            self.bank.index_fill_(0, rows, 0)
            others, among, pairs = self._neighbours(rows)
        products = hidden.T @ hidden
        near = (hidden * (others + among @ hidden)).sum() / bits
        square = (products * (self.gram.to(hidden) + products)).sum() / bits**2
        a, sums = self.dissimilar, hidden.sum(0)
        loss = square - 2 * (1 - a) * near + (1 - a * a) * pairs
        if a:
            loss = loss - 2 * a * (sums * (self.total.to(hidden) + sums)).sum() / bits + a * a * batch * len(self.bank)
        with torch.no_grad():
            self.bank[rows] = hidden
            self._count(hidden, 1)
        return loss

    def _count(self, hidden: torch.Tensor, times: int) -> None:
        exact = hidden.double()
        self.gram.add_(exact.T @ exact, alpha=times)
        self.total.add_(exact.sum(0), alpha=times)

    def _neighbours(self, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, int | torch.Tensor]:
        """Return the sum of each row's neighbours in the bank, which neighbours are in the batch, and how many all are.

        Args:
            rows: positions in the training set, int64, shape (batch,).

        Returns:
            (batch, bits) in the bank's dtype; 0 or 1, (batch, batch), in the bank's dtype; |S| of the batch's rows.
        """
        batch = len(rows)
        starts, found = self.starts[rows], self.starts[rows + 1] - self.starts[rows]
        pairs = found.sum()
        # how many there are is known only after a wait for the GPU: there, room for the most that a batch can have, and
        # what is too much of it belongs to one more row
        room = self.most_pairs[batch] if rows.is_cuda else int(pairs)
        offsets = torch.cat([found.new_zeros(1), found.cumsum(0)])
        row = torch.arange(batch + 1, device=rows.device)
        row = row.repeat_interleave(torch.cat([found, room - pairs[None]]), output_size=room)
        first = torch.cat([starts, starts.new_zeros(1)]) - offsets
        columns = self.neighbours[torch.arange(room, device=rows.device) + first[row]]
        others = nn.functional.embedding_bag(columns, self.bank, offsets, mode="sum")
        place = rows.new_full((len(self.bank),), batch)  # of a video in the batch; `batch` for those outside it
        place[rows] = torch.arange(batch, device=rows.device)
        among = self.bank.new_zeros(batch + 1, batch + 1)
        among.index_put_((row, place[columns]), among.new_ones(()))
        return others[:batch], among[:batch, :batch], pairs if rows.is_cuda else room
