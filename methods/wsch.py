"""WSCH: two masked views of a video, a state-space block and attention, and clusters of codes that are made anew.

github.com/anon271/WSCH; no paper was at hand. "Released" below means that program.
"""

from __future__ import annotations

import math
import warnings
from typing import Any, ClassVar

import numpy as np
import torch
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]
from torch import nn
from torch.nn import functional

from vhbench.errors import MethodError
from vhbench.method import Tags
from vhbench.methods.ssd import EXPAND, StateSpace
from vhbench.methods.two_views import View, debiased_contrastive, frame_sign, two_views, video_code
from vhbench.training import ENCODE_BATCH, Moment, NeuralMethod
from vhbench.videos import VideoSet

MASK_STD = 0.02  # of the mask token's first values (this project's choice)
EPS = 1e-8  # least length of a vector in a cosine


class WSCH(NeuralMethod):
    """Two-view masked autoencoder with a state-space block, a contrastive loss and clusters of its codes.

    The encoder sees a view's frames: a state-space block (`StateSpace`), then attention; a linear layer and a layer
    norm give each frame's bits. The decoder has no positions, so all hidden frames of a video have one prediction,
    and the reconstruction loss, 1 - cosine, asks for their mean direction. It is computed so: one prediction a view.

    Training has two stages (released). The first minimises the reconstruction alone. An epoch of the second is two
    passes over the videos, each with its own views: the first (A) adds `cluster_weight` times the cross-entropy of
    each view's mean code, by its cosines to the cluster centres, with the nearest centre; the second (B) adds
    `contrastive_weight` times the debiased contrastive loss. Centres are the signs of the k-means centres of both
    views' codes, made before each pass A from the centres before. Both stages have the same Adam: its moments go on.

    Each pass is an epoch of the training loop and of its log: 100 + 2 x 300 of them. `epochs` and a budget count the
    second stage's epochs, of two passes; a smaller budget shortens both stages in the same ratio.

    Differences from the released program, and why:

    - The vote of an even number of frames may be tied; a tie is +1; as released, 0.
    - A training set of fewer videos than `clusters` has as many clusters as videos.
    - How the mask token starts is not known: normal, deviation 0.02, as in ConMH.

    Args:
        bits: code length k.
        epochs: epochs of the second stage, of two passes each (released).
        stage1_epochs: epochs of the first stage (released).
        batch_size: videos a step (released).
        lr: Adam's learning rate (released).
        weight_decay: L2 term of Adam (released: none).
        stage1_mask_ratio: share of the frames that a view does not see in the first stage, and where codes are
            clustered (released).
        mask_ratio: the same in the second stage (released).
        width: of the encoder (released).
        decoder_width: of the decoder (released).
        heads: of both attentions (released).
        ssd_head_width: channels of a head of the state-space block (released).
        ssd_state: size of such a head's state, per channel (released).
        clusters: centres (released).
        cluster_weight: of the cross-entropy, summed over the views (released).
        cluster_temperature: by which cosines to the centres are divided (released).
        contrastive_weight: of the contrastive loss (released).
        temperature: of the contrastive loss (released).
        tau: share of videos that the contrastive loss expects to be of one class (released).
    """

    name = "wsch"
    reference = "github.com/anon271/WSCH, read in 2026"
    tags = Tags(min_frames=2)
    # released: one setting for all data sets
    presets: ClassVar[dict[str, dict[str, Any]]] = {"fcvid": {}, "activitynet": {}, "yfcc": {}}

    def __init__(
        self,
        bits: int,
        *,
        epochs: int = 300,
        stage1_epochs: int = 100,
        batch_size: int = 128,
        lr: float = 1e-4,
        weight_decay: float = 0.0,
        stage1_mask_ratio: float = 0.9,
        mask_ratio: float = 0.6,
        width: int = 1024,
        decoder_width: int = 1024,
        heads: int = 4,
        ssd_head_width: int = 128,
        ssd_state: int = 64,
        clusters: int = 800,
        cluster_weight: float = 0.02,
        cluster_temperature: float = 0.2,
        contrastive_weight: float = 1.0,
        temperature: float = 0.5,
        tau: float = 0.1,
    ):
        self.bits = bits
        self.epochs = epochs
        self.stage1_epochs = stage1_epochs
        self.batch_size = batch_size
        self.lr = lr
        self.weight_decay = weight_decay
        self.stage1_mask_ratio = stage1_mask_ratio
        self.mask_ratio = mask_ratio
        self.width = width
        self.decoder_width = decoder_width
        self.heads = heads
        self.ssd_head_width = ssd_head_width
        self.ssd_state = ssd_state
        self.clusters = clusters
        self.cluster_weight = cluster_weight
        self.cluster_temperature = cluster_temperature
        self.contrastive_weight = contrastive_weight
        self.temperature = temperature
        self.tau = tau

    def build(self, frames: int, dim: int) -> nn.Module:
        """Return the network.

        Raises:
            MethodError: a share of hidden frames leaves none of them hidden, or heads do not divide a width.
        """
        for name in ("stage1_mask_ratio", "mask_ratio"):
            if not 1 <= int(getattr(self, name) * frames) < frames:
                raise MethodError(
                    f"{name} must hide at least one of {frames} frames and leave one; it is {getattr(self, name):g}."
                )
        for name, whole, part in (
            ("width", self.width, self.heads),
            ("decoder_width", self.decoder_width, self.heads),
            (f"{EXPAND} x width", EXPAND * self.width, self.ssd_head_width),
        ):
            if whole % part:
                raise MethodError(f"WSCH's heads must share {name} equally: {whole} is no multiple of {part}.")
        encoder = Encoder(dim, self.width, self.heads, self.ssd_head_width, self.ssd_state)
        return Network(encoder, Hash(self.width, self.bits), Decoder(self.bits, self.decoder_width, self.heads, dim))

    def stages(self, epochs: int) -> tuple[int, int]:
        """Return the passes of both stages: one an epoch, and two."""
        return round(self.stage1_epochs * epochs / self.epochs), 2 * epochs

    def optimizer(self, module: Network) -> torch.optim.Optimizer:
        """Return the same Adam in both stages, so that its moments go on."""
        if module.adam is None:
            adam = super().optimizer(module)
            assert isinstance(adam, torch.optim.Adam)
            module.adam = adam
        return module.adam

    def start_epoch(self, module: Network, train: VideoSet, moment: Moment) -> None:
        """Cluster the codes of both views of all videos, before each pass A."""
        if moment.stage == 0 or moment.epoch % 2:
            return
        codes: list[np.ndarray] = []
        with torch.no_grad(), moment.autocast():
            for videos in train.batches(ENCODE_BATCH, device=moment.ctx.device):
                batch, frames, _ = videos.shape
                views = two_views(batch, frames, self.stage1_mask_ratio, videos.device)
                codes.append(module.frame_codes(videos, views).mean(1).sign().float().cpu().numpy())
        before = module.centres.float().cpu().numpy() if len(module.centres) else None
        seed = int(moment.rng("clusters").integers(2**31))
        centres = cluster(np.concatenate(codes), min(self.clusters, len(train)), before, seed)
        module.centres = torch.from_numpy(centres).to(moment.ctx.device)

    def end_epoch(self, module: Network, train: VideoSet, moment: Moment) -> None:
        """Let the optimiser go after the last epoch."""
        if moment.stage == 1 and moment.epoch + 1 == moment.epochs:
            module.adam = None

    def loss(self, module: Network, videos: torch.Tensor, moment: Moment) -> dict[str, torch.Tensor]:
        """Return the terms of the loss of the stage and of the pass."""
        batch, frames, _ = videos.shape
        ratio = self.mask_ratio if moment.stage else self.stage1_mask_ratio
        return self.terms(module, videos, two_views(batch, frames, ratio, videos.device), moment)

    def terms(
        self, module: Network, videos: torch.Tensor, views: tuple[View, View], moment: Moment
    ) -> dict[str, torch.Tensor]:
        """Return what `loss` returns for given views."""
        codes = module.frame_codes(videos, views)
        parts = {"recon": reconstruction(videos, views, module.decoder(codes, views[0].hidden.shape[1]))}
        if moment.stage == 0:
            return parts
        u, v = codes.mean(1).chunk(2)
        if moment.epoch % 2 == 0:
            sides = [nearest_centre(view, module.centres, self.cluster_temperature) for view in (u, v)]
            return {**parts, "cluster": self.cluster_weight * (sides[0] + sides[1])}
        contrastive = debiased_contrastive(u, v, self.temperature, self.tau)
        return {**parts, "contrastive": self.contrastive_weight * contrastive}

    def codes(self, module: Network, videos: torch.Tensor) -> torch.Tensor:
        """Return the vote of the codes of all frames."""
        return video_code(module.hash(module.encoder(videos)))


def cluster(points: np.ndarray, count: int, before: np.ndarray | None, seed: int) -> np.ndarray:
    """Return the signs of k-means centres.

    Args:
        points: codes, float32 of -1, 0 and 1, shape (n, bits).
        count: clusters, at most n.
        before: the centres to start from, as returned before; None starts by k-means++.
        seed: of k-means++.

    Returns:
        float32 of -1, 0 and 1, shape (count, bits).
    """
    start = "k-means++" if before is None else before
    # with several threads scikit-learn adds their sums up in the order in which they finish
    with threadpool_limits(1, user_api="openmp"), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer different points than clusters
        fitted = KMeans(count, init=start, n_init=1, random_state=seed, algorithm="elkan").fit(points)
    centres: np.ndarray = np.sign(fitted.cluster_centers_)
    return centres


def nearest_centre(view: torch.Tensor, centres: torch.Tensor, temperature: float) -> torch.Tensor:
    """Return the mean cross-entropy of vectors, by their cosines to the centres, with each one's nearest centre.

    Args:
        view: mean codes, shape (batch, bits).
        centres: shape (clusters, bits).
        temperature: by which cosines are divided.
    """
    with torch.autocast(view.device.type, enabled=False):
        cosines = functional.normalize(view, dim=1) @ functional.normalize(centres, dim=1).T
        logits = cosines / temperature
        return functional.cross_entropy(logits, logits.argmax(1))


def reconstruction(videos: torch.Tensor, views: tuple[View, View], predicted: torch.Tensor) -> torch.Tensor:
    """Return 1 - the mean cosine of hidden frames and their predictions, summed over the views.

    The mean over a video's hidden frames is the product of the prediction's direction, which they share, with the mean
    of theirs: one product of weights with the frames as they lie in memory, none of which is copied.

    Args:
        videos: shape (batch, frames, dim).
        views: of each video.
        predicted: shape (2 x batch, dim); those of the first view come first.
    """
    with torch.autocast(videos.device.type, enabled=False):
        shares = 1 / torch.linalg.vector_norm(videos, dim=2).clamp_min(EPS)
        hidden = [torch.zeros_like(shares).scatter(1, view.hidden, shares.gather(1, view.hidden)) for view in views]
        directions = torch.stack(hidden, 1) @ videos / views[0].hidden.shape[1]
        unit = functional.normalize(predicted.to(videos.dtype), dim=1, eps=EPS).view(2, len(videos), -1)
        return 2 - (unit.transpose(0, 1) * directions).sum() / len(videos)


class Network(nn.Module):
    """Encoder, hash layer and decoder; the cluster centres; the optimiser of both stages.

    Attributes:
        centres: float32 of -1, 0 and 1, shape (clusters, bits); empty before the second stage.
        adam: the optimiser while training.
    """

    centres: torch.Tensor

    def __init__(self, encoder: Encoder, hash_layer: Hash, decoder: Decoder):
        super().__init__()
        self.encoder, self.hash, self.decoder = encoder, hash_layer, decoder
        self.register_buffer("centres", torch.empty(0, hash_layer.linear.out_features), persistent=False)
        self.adam: torch.optim.Adam | None = None

    def frame_codes(self, videos: torch.Tensor, views: tuple[View, View]) -> torch.Tensor:
        """Return the codes of the frames that the views see, (2 x batch, frames seen, bits); the first view's first."""
        codes: torch.Tensor = self.hash(self.encoder(torch.cat([view.seen(videos) for view in views])))
        return codes


class Encoder(nn.Module):
    """Layer norm and a linear map of each frame, then residuals: a state-space block, and attention; no positions."""

    def __init__(self, dim: int, width: int, heads: int, ssd_head_width: int, ssd_state: int):
        super().__init__()
        self.frame_norm = nn.LayerNorm(dim)
        self.project = nn.Linear(dim, width, bias=False)
        self.block_norm = nn.RMSNorm(width, eps=1e-5)
        self.block = StateSpace(width, ssd_head_width, ssd_state)
        self.attention_norm = nn.LayerNorm(width)
        self.attention = Attention(width, heads)

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """Map (batch, frames, dim) to (batch, frames, width)."""
        t = self.project(self.frame_norm(frames)).to(frames.dtype)
        t = t + self.block(self.block_norm(t))
        normed = self.attention_norm(t)
        encoded: torch.Tensor = t + self.attention(normed, normed)
        return encoded


class Hash(nn.Module):
    """Linear layer, layer norm over the bits, sign."""

    def __init__(self, width: int, bits: int):
        super().__init__()
        self.linear = nn.Linear(width, bits)
        self.norm = nn.LayerNorm(bits)

    def logits(self, x: torch.Tensor) -> torch.Tensor:
        """Map (..., width) to (..., bits), before the sign, in the weights' dtype also under autocast."""
        scores = self.linear(x).to(self.norm.weight.dtype)
        with torch.autocast(x.device.type, enabled=False):
            normed: torch.Tensor = self.norm(scores)
        return normed

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (..., width) to codes of -1 and +1, (..., bits), with the straight-through gradient."""
        return frame_sign(self.logits(x))


class Decoder(nn.Module):
    """Predicts the hidden frames from the codes of the others: attention between them and mask tokens.

    Mask tokens have no positions, so those of a video are equal and get the same prediction: one of them is computed,
    and counts as often in the attention as there are hidden frames.
    """

    def __init__(self, bits: int, width: int, heads: int, dim: int):
        super().__init__()
        self.mask_token = nn.Parameter(torch.randn(1, 1, bits) * MASK_STD)
        self.widen = nn.Linear(bits, width, bias=False)
        self.norm = nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.read_out = nn.Linear(width, dim)

    def forward(self, codes: torch.Tensor, hidden: int) -> torch.Tensor:
        """Map codes (batch, frames seen, bits) to the prediction for each of `hidden` frames, (batch, dim)."""
        tokens = torch.cat([codes, self.mask_token.expand(len(codes), -1, -1)], 1)
        t = self.widen(tokens).to(codes.dtype)
        normed = self.norm(t)
        counts = functional.pad(torch.zeros_like(t[0, 1:, 0]), (0, 1), value=math.log(hidden))
        last: torch.Tensor = t[:, -1:] + self.attention(normed[:, -1:], normed, counts)
        frame: torch.Tensor = self.read_out(last.squeeze(1))
        return frame


class Attention(nn.Module):
    """Multi-head attention; its three inputs have no bias, its output has one."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width, bias=False)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width, bias=False)
        self.output = nn.Linear(width, width)
        self.root = math.sqrt(width // heads)

    def forward(
        self, queries: torch.Tensor, tokens: torch.Tensor, log_counts: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Return what each query reads from the tokens.

        Args:
            queries: shape (batch, queries, width).
            tokens: shape (batch, tokens, width).
            log_counts: logarithms of how often each token counts, shape (tokens,); None: once.

        Returns:
            (batch, queries, width) in the queries' dtype.
        """
        q, k, v = (
            layer(x).unflatten(2, (self.heads, -1)).transpose(1, 2)
            for layer, x in ((self.query, queries), (self.key, tokens), (self.value, tokens))
        )
        bias = None if log_counts is None else log_counts.to(q.dtype).expand(q.shape[2], -1)
        read = functional.scaled_dot_product_attention(q, k, v, attn_mask=bias, scale=1 / self.root)
        out: torch.Tensor = self.output(read.transpose(1, 2).flatten(2))
        return out.to(queries.dtype)
