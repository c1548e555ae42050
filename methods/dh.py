"""DH: video vectors from an LSTM autoencoder, then a small network whose outputs are pressed to signs.

Liong, Lu, Wang, Moulin, Zhou: Deep Hashing for Compact Binary Codes Learning, CVPR 2015. Li et al. (UVVH, IV-D) bring
it to videos through the autoencoder of Srivastava, Mansimov, Salakhutdinov: Unsupervised Learning of Video
Representations using LSTMs, ICML 2015.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn

from vhbench.method import FitContext, Tags
from vhbench.methods.layers import LSTM, sign
from vhbench.methods.projection import mean_of
from vhbench.training import Moment, NeuralMethod
from vhbench.videos import VideoSet


class DH(NeuralMethod):
    """Deep hashing of LSTM autoencoder vectors: quantisation, variance and orthogonality (2015).

    Training has two stages. First the autoencoder learns to rebuild the frames from its encoder's last state. Then it
    is frozen, the encoder's last hidden state is the video's vector x, and three layers h_r = tanh(W_r h_(r-1) + c_r)
    with h_0 = x - mean(x) learn

        1/2 |B - H|^2 - lambda_1/2 tr(H'H)/N + lambda_2/2 sum_r |W_r W_r' - I|^2 + lambda_3/2 sum_r (|W_r|^2 + |c_r|^2),

    where H is the last layer's output for all N training videos and B = sign(H) is held constant. Codes are sign(H).

    Differences from the papers, and why:

    - UVVH does not say whether autoencoder and hashing are trained together; frozen vectors are the plain reading.
    - What is minimised is the objective divided by N, so that the logged loss is a video's; a batch's means stand for
      the means over all videos. The lambdas are the paper's, so a video's variance weighs lambda_1/N: the more videos,
      the less. A weight of 1 a video lets bits become copies of each other.
    - x is centred: the second term rewards an uncentred variance, which constant bits have too.
    - Layers of 4k, 2k and k units, none wider than the vector; the paper's sizes are for other features. W_1 starts as
      the vectors' principal directions, the later W_r as truncated identities, c_r = 0, as in the paper.
    - Adam on minibatches for gradient descent on the whole set.
    - The autoencoder has no peepholes (the released one does), 256 units like the other methods' LSTMs, Glorot-uniform
      and orthogonal weights, a forget bias of 1, and Adam. As in the released one, the decoder's first output comes
      from the copied state itself, it is fed no frames, and it writes them last to first.

    Args:
        bits: code length k.
        epochs: passes over the training set: 50 for the autoencoder (this project's choice) and 40 for the hashing
            layers (a public re-implementation).
        pretraining: share of the epochs that train the autoencoder (this project's choice); the last epoch
            always trains the hashing layers.
        batch_size: videos a step (this project's choice).
        lr: Adam's learning rate for the autoencoder (by training loss).
        weight_decay: L2 term of Adam on the autoencoder (released code).
        hash_lr: Adam's learning rate for the hashing layers (a public re-implementation).
        hidden: units of the encoder and of the decoder LSTM (this project's choice).
        variance_weight: lambda_1 (paper).
        orthogonality_weight: lambda_2 (paper).
        norm_weight: lambda_3 (paper).
        start_at_mean: the autoencoder's read-out starts at the training set's mean frame, as in UVVH (this project's
            choice); off: at 0.
    """

    name = "dh"
    reference = "Liong, Lu, Wang, Moulin, Zhou, CVPR 2015; Srivastava, Mansimov, Salakhutdinov, ICML 2015"
    tags = Tags()

    def __init__(
        self,
        bits: int,
        *,
        epochs: int = 90,
        pretraining: float = 0.5556,
        batch_size: int = 256,
        lr: float = 1e-3,
        weight_decay: float = 1e-4,
        hash_lr: float = 1e-4,
        hidden: int = 256,
        variance_weight: float = 100.0,
        orthogonality_weight: float = 0.001,
        norm_weight: float = 0.001,
        start_at_mean: bool = True,
    ):
        self.bits = bits
        self.epochs = epochs
        self.pretraining = pretraining
        self.batch_size = batch_size
        self.lr = lr
        self.weight_decay = weight_decay
        self.hash_lr = hash_lr
        self.hidden = hidden
        self.variance_weight = variance_weight
        self.orthogonality_weight = orthogonality_weight
        self.norm_weight = norm_weight
        self.start_at_mean = start_at_mean

    def build(self, frames: int, dim: int) -> nn.Module:
        """Return the autoencoder and the hashing layers."""
        return Network(self.bits, frames, dim, self.hidden)

    def prepare(self, module: Network, train: VideoSet, ctx: FitContext) -> None:
        """Start the autoencoder's output at the mean frame, and make room for the training videos' vectors."""
        if self.start_at_mean:
            with torch.no_grad():
                module.decoder.read_out.bias.copy_(torch.from_numpy(mean_of(train.mean_frames())))
        vectors = module.mean.new_zeros(len(train), self.hidden)
        module.register_buffer("vectors", vectors, persistent=False)  # a resumed run finds them in the checkpoint

    def optimizer(self, module: Network) -> torch.optim.Optimizer:  # type: ignore[override]
        """Return Adam with a group each for the autoencoder and the hashing layers, whose decay is in the loss."""
        autoencoder = [*module.encoder.parameters(), *module.decoder.parameters()]
        groups = [
            {"params": autoencoder, "lr": self.lr, "weight_decay": self.weight_decay},
            {"params": module.layers.parameters(), "lr": self.hash_lr},
        ]
        return torch.optim.Adam(groups, fused=True)

    def start_epoch(self, module: Network, train: VideoSet, moment: Moment) -> None:
        """At the start of the second stage, encode the training videos and initialise the hashing layers."""
        if moment.epoch != self._boundary(moment.epochs):
            return
        start = 0
        with torch.no_grad():
            for videos in train.batches(self.batch_size, device=str(module.mean.device)):
                module.vectors[start : start + len(videos)] = module.encoder(videos)[0]
                start += len(videos)
        module.initialise_layers()

    def inputs(self, module: Network, train: VideoSet, moment: Moment) -> VideoSet:
        """Return the videos, and in the second stage their vectors as one frame each."""
        return train if moment.epoch < self._boundary(moment.epochs) else VideoSet(module.vectors.unsqueeze(1))

    def loss(self, module: Network, videos: torch.Tensor, moment: Moment) -> dict[str, torch.Tensor]:
        """Return the autoencoder's squared error, or the hashing layers' four terms."""
        if moment.epoch < self._boundary(moment.epochs):
            return {"recon": reconstruction(videos, module.decoder(*module.encoder(videos)))}
        x = videos.squeeze(1)
        share = 1 / len(module.vectors)  # of the objective, which is a sum over the training videos
        with torch.autocast(x.device.type, enabled=False):  # small products; in bf16 W W' would not come close to I
            h = module.hash(x)
            return {
                "quantization": 0.5 * (sign(h).detach() - h).square().sum(dim=1).mean(),
                "variance": -0.5 * share * self.variance_weight * h.square().sum(dim=1).mean(),
                "orthogonality": 0.5 * share * self.orthogonality_weight * orthogonality(module.layers),
                "norm": 0.5 * share * self.norm_weight * norm(module.layers),
            }

    def codes(self, module: Network, videos: torch.Tensor) -> torch.Tensor:
        """Return sign(H) as bool."""
        h: torch.Tensor = module.hash(module.encoder(videos)[0])
        return h >= 0

    def _boundary(self, epochs: int) -> int:
        """Return the first epoch of the second stage."""
        return max(0, min(round(self.pretraining * epochs), epochs - 1))


class Network(nn.Module):
    """The autoencoder, the mean of its vectors, and the hashing layers."""

    mean: torch.Tensor
    vectors: torch.Tensor

    def __init__(self, bits: int, frames: int, dim: int, hidden: int):
        super().__init__()
        self.encoder = Encoder(dim, hidden)
        self.decoder = Decoder(frames, dim, hidden)
        self.register_buffer("mean", torch.zeros(hidden))
        sizes = (hidden, min(hidden, 4 * bits), min(hidden, 2 * bits), bits)
        self.layers = nn.Sequential()
        for size_in, size_out in pairwise(sizes):
            self.layers.extend([nn.Linear(size_in, size_out), nn.Tanh()])

    def hash(self, x: torch.Tensor) -> torch.Tensor:
        """Map video vectors (batch, hidden) to H (batch, bits)."""
        h: torch.Tensor = self.layers(x - self.mean)
        return h

    @torch.no_grad()
    def initialise_layers(self) -> None:
        """Start the first layer at the principal directions of the vectors, the later ones at truncated identities."""
        vectors = self.vectors.cpu().double()
        mean = vectors.mean(dim=0)
        self.mean.copy_(mean)
        for parameter in self.layers.parameters():
            (nn.init.eye_ if parameter.dim() == 2 else nn.init.zeros_)(parameter)
        first = next(self.layers.parameters())
        first.copy_(principal_directions(vectors - mean)[: len(first)])


class Encoder(LSTM):
    """An LSTM that maps (batch, frames, dim) to its last hidden and cell state, each (batch, hidden)."""

    def __init__(self, dim: int, hidden: int):
        super().__init__(dim, hidden)
        for gate in self.weight_ih_l0.chunk(4):
            nn.init.xavier_uniform_(gate)
        initialise_recurrence(self.weight_hh_l0, self.bias_ih_l0)
        nn.init.zeros_(self.bias_hh_l0)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:  # type: ignore[override]
        """Run over the frames from a zero state."""
        if x.is_cuda:
            _, (h, c) = self.on_gpu(x)
            return h[0], c[0]
        gates = nn.functional.linear(x, self.weight_ih_l0, self.bias_ih_l0 + self.bias_hh_l0)
        h = c = x.new_zeros(len(x), self.hidden_size)
        for gate in gates.unbind(1):
            h, c = step(gate + h @ self.weight_hh_l0.t(), c)
        return h, c


class Decoder(nn.Module):
    """An LSTM without input that starts from the encoder's state and writes the frames last to first."""

    def __init__(self, frames: int, dim: int, hidden: int):
        super().__init__()
        self.frames = frames
        self.recurrent = nn.Linear(hidden, 4 * hidden)
        self.read_out = nn.Linear(hidden, dim)
        initialise_recurrence(self.recurrent.weight, self.recurrent.bias)
        nn.init.xavier_uniform_(self.read_out.weight)
        nn.init.zeros_(self.read_out.bias)

    def forward(self, h: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        """Map the encoder's state to frames in their own order, (batch, frames, dim)."""
        states = [h]
        for _ in range(self.frames - 1):
            h, c = step(self.recurrent(h), c)
            states.append(h)
        frames: torch.Tensor = self.read_out(torch.stack(states[::-1], dim=1))
        return frames


def step(gates: torch.Tensor, c: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return an LSTM's next hidden and cell state from the sums that its gates squash: input, forget, cell, output.

    Under autocast the cell state stays in float32.
    """
    i, f, g, o = gates.chunk(4, 1)
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    return o.sigmoid() * c.tanh(), c


def initialise_recurrence(weight: torch.Tensor, bias: torch.Tensor) -> None:
    """Give each gate an orthogonal matrix, and a bias of 1 to the forget gate and 0 to the others."""
    for gate in weight.chunk(4):
        nn.init.orthogonal_(gate)
    nn.init.zeros_(bias)
    nn.init.ones_(bias.chunk(4)[1])


def principal_directions(centred: torch.Tensor) -> torch.Tensor:
    """Return all eigenvectors of the scatter of centred vectors as rows, the largest variance first.

    The coefficient of largest magnitude is positive in each. Directions without variance follow in an arbitrary
    orthonormal basis, so that W_1 W_1' = I with any number of vectors.

    Args:
        centred: float64, shape (videos, hidden).

    Returns:
        float64, shape (hidden, hidden).
    """
    _, vectors = torch.linalg.eigh(centred.T @ centred)
    rows: torch.Tensor = vectors.T.flip(0)
    peaks = rows.gather(1, rows.abs().argmax(dim=1, keepdim=True))
    return rows * torch.where(peaks < 0, -1.0, 1.0)


def reconstruction(videos: torch.Tensor, decoded: torch.Tensor) -> torch.Tensor:
    """Return the squared error, summed over dimensions, averaged over frames and videos (UVVH paper, Eq. 15)."""
    batch, frames, _ = videos.shape
    return nn.functional.mse_loss(decoded.to(videos.dtype), videos, reduction="sum") / (batch * frames)


def orthogonality(layers: nn.Module) -> torch.Tensor:
    """Return the sum over the layers of |W W' - I|^2."""
    weights = [parameter for parameter in layers.parameters() if parameter.dim() == 2]
    return torch.stack(
        [(w @ w.T - torch.eye(len(w), dtype=w.dtype, device=w.device)).square().sum() for w in weights]
    ).sum()


def norm(layers: nn.Module) -> torch.Tensor:
    """Return the sum of the layers' squared weights and biases."""
    return torch.stack([parameter.square().sum() for parameter in layers.parameters()]).sum()
