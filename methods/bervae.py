"""BerVAE: a variational autoencoder of corrupted videos whose code is Bernoulli, trained by an unbiased gradient.

Wang, Zhou, Sun, Qian: Uncertainty-aware Unsupervised Video Hashing, AISTATS 2023. "Released" below means the authors'
program (github.com/wangyucheng1234/BerVAE), which the forms and constants are taken from.
"""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

import torch
from torch import nn

from vhbench.method import FitContext
from vhbench.methods.bert import Encoder
from vhbench.methods.corruption import corrupted
from vhbench.methods.forms import check_forms
from vhbench.methods.read_out import pack
from vhbench.methods.schedule import decayed, is_warm
from vhbench.training import Moment, NeuralMethod
from vhbench.videos import VideoSet

KL_EPS = 1e-8
DRAWS = 2  # estimates of the gradient that are averaged (released)


class BerVAE(NeuralMethod):
    """Bernoulli variational autoencoder behind BTH's Transformer, one code a video (2023).

    The mean over frames of a linear map of the hidden states, phi, gives each bit's probability p = sigmoid(phi). A
    code b is drawn, +1 with probability p, else -1; frame t is rebuilt as W (w_t b) + bias, with a weight w_t for each
    place in time. Minimised is

        mean squared error + .1 KL(p || 1/2) / k

    For 5 epochs the draw passes the gradient on to p. From then on the encoder has the unbiased U2G estimate of the
    expected error's gradient: with u uniform, b1 = [u > 1 - p] and b2 = [u < p], and f the error of a code,

        sigmoid(|phi|) / 2 (f(b1) - f(b2)) (b1 - b2),

    averaged over two draws; the decoder still learns from the drawn code. Codes are phi >= 0.

    Differences from the paper and from the released program, and why:

    - The paper reconstructs clean frames; in the released program the target is corrupted as well, and published
      numbers were made so: the default. `target="described"` is the paper's.
    - One Adam for encoder and decoder. The released two have equal rates and share no weight, so their steps are the
      same.
    - A replaced frame becomes one of the batch; in the released program, one of the whole training set.
    - The decoder is linear in the code, so the error is a quadratic form of it, which gives the same numbers without
      rebuilding frames.
    - The entropy of a code, by which the authors turn uncertain queries down, is not offered.

    Args:
        bits: code length k.
        epochs: passes over the training set (released: 0 to 200).
        warmup_epochs: of these, those with the straight-through gradient (released); a smaller budget shortens both.
        batch_size: videos a step (released).
        lr: Adam's learning rate, times .9 every 20 epochs, at least 1e-4 (released).
        weight_decay: L2 term of Adam (released: its option's value is not used, so 0).
        width: of the hidden states (released); the feed-forward layer has 4 times as many units.
        blocks: of the encoder (released).
        heads: of its attention (released).
        dropout: rate (released).
        kl_weight: of the KL term (released).
        target: what is reconstructed, "released" or "described", see above.
    """

    name = "bervae"
    reference = "Wang, Zhou, Sun, Qian, AISTATS 2023"
    presets: ClassVar[dict[str, dict[str, Any]]] = {"fcvid": {}}  # the released program's only settings

    def __init__(
        self,
        bits: int,
        *,
        epochs: int = 201,
        warmup_epochs: int = 5,
        batch_size: int = 256,
        lr: float = 3e-4,
        weight_decay: float = 0.0,
        width: int = 256,
        blocks: int = 1,
        heads: int = 1,
        dropout: float = 0.1,
        kl_weight: float = 0.1,
        target: str = "released",
    ):
        self.bits = bits
        self.epochs = epochs
        self.warmup_epochs = warmup_epochs
        self.batch_size = batch_size
        self.lr = lr
        self.weight_decay = weight_decay
        self.width = width
        self.blocks = blocks
        self.heads = heads
        self.dropout = dropout
        self.kl_weight = kl_weight
        self.target = target

    def build(self, frames: int, dim: int) -> nn.Module:
        """Return the encoder and the linear decoder."""
        return Network(self.bits, frames, Encoder(frames, dim, self.width, self.blocks, self.heads, self.dropout))

    def prepare(self, module: Network, train: VideoSet, ctx: FitContext) -> None:
        """Check that the target is known."""
        check_forms(target=self.target)

    def lr_factor(self, moment: Moment) -> float:
        """Return .9 to the number of whole 20 epochs, but no rate below 1e-4 (released)."""
        return decayed(self.lr, moment.epoch)

    def loss(self, module: Network, videos: torch.Tensor, moment: Moment) -> dict[str, torch.Tensor]:
        """Return the error of a drawn code and the KL term; the encoder's gradient is in the former, see above."""
        seen, target = corrupted(videos, self.target)
        phi = module.logits(module.encoder(pack(seen)))
        with torch.autocast(phi.device.type, enabled=False):
            error, p = module.error(target.to(phi.dtype)), phi.sigmoid()
            codes = signs(torch.rand_like(p) < p, p)
            if is_warm(self, moment):
                estimates = [u2g(phi.detach(), error.of_codes, torch.rand_like(p)) for _ in range(DRAWS)]
                slope = (phi * (sum(estimates) / DRAWS)).sum() / error.numbers
                recon = error.mean(codes) + (slope - slope.detach())  # 0, with the estimated gradient
            else:
                recon = error.mean(codes + 2 * (p - p.detach()))
            return {"recon": recon, "prior": self.kl_weight * prior_divergence(p)}

    def codes(self, module: Network, videos: torch.Tensor) -> torch.Tensor:
        """Return the more probable bits as bool."""
        return module.logits(module.encoder(videos)) >= 0


class CodeError(NamedTuple):
    """Squared errors of frames rebuilt from codes, as a quadratic form of the code.

    With x the target, frame t rebuilt as W (w_t b) + bias, and y_t = x_t - bias, a video's error is

        sum |y_t|^2 - 2 b' W' sum w_t y_t + sum w_t^2 b' W'W b.

    Attributes:
        constant: the first term, summed over the batch.
        linear: W' sum w_t y_t, shape (batch, bits).
        square: sum w_t^2 W'W, shape (bits, bits).
        numbers: in the target; the mean is over them.
    """

    constant: torch.Tensor
    linear: torch.Tensor
    square: torch.Tensor
    numbers: int

    def of_codes(self, codes: torch.Tensor) -> torch.Tensor:
        """Return each video's error but for what no code changes, shape (batch,)."""
        return ((codes @ self.square - 2 * self.linear) * codes).sum(1)

    def mean(self, codes: torch.Tensor) -> torch.Tensor:
        """Return the mean squared error of codes, (batch, bits)."""
        return (self.constant + self.of_codes(codes).sum()) / self.numbers


class Network(nn.Module):
    """Encoder, linear map to logits, and a decoder that gives each bit a course in time and frames by a linear map."""

    def __init__(self, bits: int, frames: int, encoder: Encoder):
        super().__init__()
        self.encoder = encoder
        width, dim = encoder.frame_map.out_features, encoder.frame_map.in_features
        self.binary = nn.Linear(width, bits)
        self.course = nn.Linear(1, frames, bias=False)
        self.read_out = nn.Linear(bits, dim)

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """Map hidden states (batch, frames, width) to phi, (batch, bits)."""
        return self.binary(hidden).to(hidden.dtype).mean(1)  # type: ignore[no-any-return]

    def error(self, target: torch.Tensor) -> CodeError:
        """Return the errors of codes, as a function of them.

        Args:
            target: frames, shape (batch, frames, dim), in the weights' dtype.
        """
        course, weight, bias = self.course.weight[:, 0], self.read_out.weight, self.read_out.bias
        size, total, rows = torch.linalg.vector_norm(target).square(), target.sum((0, 1)), target.shape[0] * len(course)
        weighted = (course @ target) - course.sum() * bias
        constant = size - 2 * (total @ bias) + rows * (bias @ bias)
        return CodeError(constant, weighted @ weight, (course @ course) * (weight.T @ weight), target.numel())


def signs(bits: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Return bool bits as -1 and +1, in the dtype of `like`."""
    return 2 * bits.to(like.dtype) - 1


@torch.no_grad()
def u2g(phi: torch.Tensor, error: Any, u: torch.Tensor) -> torch.Tensor:
    """Return an unbiased estimate of the gradient of each video's expected error with respect to its logits.

    Args:
        phi: logits, shape (batch, bits).
        error: maps codes of -1 and +1, (batch, bits), to each video's error, (batch,), up to a constant.
        u: uniform random numbers in [0, 1), shape (batch, bits).
    """
    p = phi.sigmoid()
    one, two = u > 1 - p, u < p
    difference: torch.Tensor = error(signs(one, p)) - error(signs(two, p))
    return phi.abs().sigmoid() / 2 * difference[:, None] * (one.to(p.dtype) - two.to(p.dtype))


def prior_divergence(p: torch.Tensor) -> torch.Tensor:
    """Return KL(Bernoulli(p) || Bernoulli(1/2)), mean over videos and bits; 1e-8 is added inside the logarithms."""
    return (p * (2 * p + KL_EPS).log() + (1 - p) * (2 * (1 - p) + KL_EPS).log()).mean()
