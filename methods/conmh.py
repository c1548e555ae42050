"""ConMH: contrastive masked autoencoders, which hash a video from a part of its frames and reconstruct the others.

Wang, Wang, Chen, Zeng, Xia: Contrastive Masked Autoencoders for Self-Supervised Video Hashing, AAAI Conference on
Artificial Intelligence, 2023. "Released" below means the authors' code (github.com/huangmozhi9527/ConMH).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import nn

from vhbench.errors import MethodError
from vhbench.method import Tags
from vhbench.methods.read_out import error_of_products, pack
from vhbench.methods.schedule import decayed
from vhbench.methods.transformer import EPS, TransformerBlock, sine_positions
from vhbench.methods.two_views import View, debiased_contrastive, frame_sign, two_views, video_code
from vhbench.training import Moment, NeuralMethod


class ConMH(NeuralMethod):
    """Contrastive masked autoencoder: two masked views, a code a frame, each view reconstructs what it missed (2023).

    A transformer encodes the frames that a view sees; a linear layer, a layer norm over the bits and a sign give each
    its code. A decoder of mask tokens and codes reconstructs the frames that the view missed, and the views' mean codes
    are drawn together by a debiased contrastive loss:

        recon(view 1) + recon(view 2) + contrastive_weight * contrastive(mean code 1, mean code 2)

    with mean squared errors. A video is hashed from all its frames: the vote of their codes, a tie being +1 (released:
    0, which is no bit). A method of this family overrides `encoder_layers` and `decoder_layers`, and adds terms in
    `further_terms`.

    Taken from the released code where the paper is silent: a head has 256 // 6 = 42 units, so six fill 252 of 256, and
    keys have no bias; weights of encoder and decoder start from Xavier's uniform distribution, the hash layer's and the
    decoder's input layer's from torch's default. The released program trains 5 epochs more than the model has that it
    keeps and that is scored; `epochs` counts that model's.

    The squared error is multiplied out, which gives the same value without a reconstructed frame.

    `blocks=1, heads=1` is the released `mini`, whose decoder is that of the full size. The presets are the released
    settings, but `ucf101`, which ConMH has none for: what S5VH's and AutoSSVH's programs set for their backbone there.

    Args:
        bits: code length k.
        epochs: passes over the training set (released, FCVID: 800 of the 805 trained).
        batch_size: videos a step (released, FCVID).
        lr: Adam's learning rate (released), times .9 every 20 epochs.
        min_lr: where it stops falling (released).
        weight_decay: L2 term of Adam (released).
        mask_ratio: share of the frames that a view misses (released, FCVID).
        temperature: T of the contrastive loss (released).
        tau: the share of videos expected to be of one class, in that loss (released, FCVID).
        contrastive_weight: the contrastive loss's weight (released, FCVID).
        blocks: the encoder's transformer blocks (released).
        heads: attention heads of each (released).
        width: units of the encoder's tokens (released).
        decoder_blocks: the decoder's transformer blocks (released).
        decoder_heads: attention heads of each (released).
        decoder_width: units of the decoder's tokens (released).
    """

    name = "conmh"
    reference = "Wang, Wang, Chen, Zeng, Xia, AAAI 2023"
    tags = Tags(min_frames=2)
    # FCVID's are the defaults; sources: see above
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "fcvid": {},
        "activitynet": {"epochs": 500, "batch_size": 128, "mask_ratio": 0.5, "contrastive_weight": 0.2, "tau": 0.05},
        "yfcc": {"epochs": 40, "batch_size": 128},
        "ucf101": {"epochs": 350, "batch_size": 128, "mask_ratio": 0.5},
    }

    def __init__(
        self,
        bits: int,
        *,
        epochs: int = 800,
        batch_size: int = 512,
        lr: float = 1e-4,
        min_lr: float = 1e-5,
        weight_decay: float = 0.0,
        mask_ratio: float = 0.75,
        temperature: float = 0.5,
        tau: float = 0.1,
        contrastive_weight: float = 1.0,
        blocks: int = 12,
        heads: int = 6,
        width: int = 256,
        decoder_blocks: int = 2,
        decoder_heads: int = 3,
        decoder_width: int = 192,
    ):
        self.bits = bits
        self.epochs = epochs
        self.batch_size = batch_size
        self.lr = lr
        self.min_lr = min_lr
        self.weight_decay = weight_decay
        self.mask_ratio = mask_ratio
        self.temperature = temperature
        self.tau = tau
        self.contrastive_weight = contrastive_weight
        self.blocks = blocks
        self.heads = heads
        self.width = width
        self.decoder_blocks = decoder_blocks
        self.decoder_heads = decoder_heads
        self.decoder_width = decoder_width

    def build(self, frames: int, dim: int) -> nn.Module:
        """Return the encoder, the hash layer and the decoder."""
        hidden = int(self.mask_ratio * frames)
        if not 0 < hidden < frames:
            raise MethodError(
                f"mask_ratio={self.mask_ratio:g} hides {hidden} of {frames} frames; a view must see one and miss one: "
                f"set it to at least {1 / frames:.2g} and below 1."
            )
        encoder = Encoder(dim, frames, self.width, self.encoder_layers())
        decoder = Decoder(dim, frames, self.decoder_width, self.decoder_layers())
        return Network(self.bits, encoder, decoder)

    def encoder_layers(self) -> Sequence[nn.Module]:
        """Return the encoder's blocks, which map (batch, tokens, width) to the same shape."""
        return [TransformerBlock(self.width, self.heads) for _ in range(self.blocks)]

    def decoder_layers(self) -> Sequence[nn.Module]:
        """Return the decoder's blocks, which map (batch, tokens, decoder_width) to the same shape."""
        return [TransformerBlock(self.decoder_width, self.decoder_heads) for _ in range(self.decoder_blocks)]

    def lr_factor(self, moment: Moment) -> float:
        """Return .9 to the number of past 20 epochs, but no rate below `min_lr`."""
        return decayed(self.lr, moment.epoch, self.min_lr)

    def loss(self, module: Network, videos: torch.Tensor, moment: Moment) -> dict[str, torch.Tensor]:
        """Return the terms of the loss for two views drawn anew."""
        packed = pack(videos)
        tokens = module.embed(packed)
        views, seen = self.views(module, tokens)
        codes = frame_sign(module.logits(seen))
        one, two = codes.mean(1).chunk(2)
        states = module.decode(codes, stacked(views))
        error = hidden_error(videos, packed, views, states, module.decoder.read_out)
        agreement = debiased_contrastive(one, two, self.temperature, self.tau)
        return {
            "recon": 2 * error / (states[..., 0].numel() * videos.shape[2]),
            "contrastive": self.contrastive_weight * agreement,
            **self.further_terms(module, tokens, (one, two), moment),
        }

    def views(self, module: Any, tokens: torch.Tensor) -> tuple[tuple[View, View], torch.Tensor]:
        """Return two views of each video, and the tokens that they see: those of the first view, then the second's.

        Args:
            module: the network, in training mode.
            tokens: all frames of the batch, embedded: (batch, frames, width).

        Returns:
            The views, and shape (2 * batch, frames seen, width).
        """
        batch, frames, _ = tokens.shape
        views = two_views(batch, frames, self.mask_ratio, tokens.device)
        return views, stacked(views).seen(tokens.repeat(2, 1, 1))

    def codes(self, module: Network, videos: torch.Tensor) -> torch.Tensor:
        """Return the vote of all frames' codes as bool."""
        return video_code(frame_sign(module.logits(module.embed(videos))))

    def further_terms(
        self, module: Any, tokens: torch.Tensor, codes: tuple[torch.Tensor, torch.Tensor], moment: Moment
    ) -> dict[str, torch.Tensor]:
        """Return what a method of this family adds to the loss: nothing here.

        Args:
            module: the network, in training mode.
            tokens: all frames of the batch, embedded: (batch, frames, width).
            codes: the views' mean codes, each (batch, bits).
            moment: where in the training this is.
        """
        return {}


class Network(nn.Module):
    """Encoder, hash layer and decoder of two views of a batch, which go through it as one batch of twice the size.

    The weights of linear layers in encoder and decoder, of whatever blocks, start from Xavier's uniform distribution
    and their biases at 0 (released).
    """

    def __init__(self, bits: int, encoder: Encoder, decoder: Decoder):
        super().__init__()
        self.encoder, self.decoder = encoder, decoder
        for part in (encoder, decoder):
            part.apply(start_linear)
        width = decoder.mask_token.shape[2]
        self.hash = nn.Linear(encoder.head.out_features, bits)
        self.norm = nn.LayerNorm(bits)
        self.enlarge = nn.Linear(bits, width, bias=False)

    def embed(self, videos: torch.Tensor) -> torch.Tensor:
        """Map frames (batch, frames, dim) to tokens with their positions, (batch, frames, width)."""
        tokens: torch.Tensor = self.encoder.embed(videos) + self.encoder.positions
        return tokens

    def logits(self, tokens: torch.Tensor) -> torch.Tensor:
        """Map tokens (batch, tokens, width) to each one's normalised bits before the sign, (batch, tokens, bits)."""
        latent = self.encoder(tokens)
        with torch.autocast(latent.device.type, enabled=False):
            logits: torch.Tensor = self.norm(self.hash(latent.to(self.hash.weight.dtype)))
        return logits

    def decode(self, codes: torch.Tensor, view: View) -> torch.Tensor:
        """Map codes to what the decoder's read-out sees of each hidden frame.

        Args:
            codes: of the frames seen, -1 and +1, shape (batch, frames seen, bits).
            view: which frames these are.

        Returns:
            Shape (batch, other frames, decoder width).
        """
        states: torch.Tensor = self.decoder(self.enlarge(codes), view)
        return states


class Encoder(nn.Module):
    """Linear embedding of frames with sine positions; blocks, layer norm and a linear layer on tokens."""

    positions: torch.Tensor

    def __init__(self, dim: int, frames: int, width: int, layers: Sequence[nn.Module]):
        super().__init__()
        self.embed = nn.Linear(dim, width)
        self.register_buffer("positions", sine_positions(frames, width), persistent=False)
        self.layers = nn.Sequential(*layers)
        self.norm = nn.LayerNorm(width, eps=EPS)
        self.head = nn.Linear(width, width)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Map tokens (batch, tokens, width) to the same shape."""
        latent: torch.Tensor = self.head(self.norm(self.layers(tokens)))
        return latent


class Decoder(nn.Module):
    """Blocks on the tokens of the frames seen, then mask tokens, all with their positions; a read-out of frames."""

    positions: torch.Tensor

    def __init__(self, dim: int, frames: int, width: int, layers: Sequence[nn.Module]):
        super().__init__()
        self.mask_token = nn.Parameter(cut_normal(1, 1, width))
        self.register_buffer("positions", sine_positions(frames, width), persistent=False)
        self.layers = nn.Sequential(*layers)
        self.norm = nn.LayerNorm(width, eps=EPS)
        self.read_out = nn.Linear(width, dim)

    def forward(self, tokens: torch.Tensor, view: View) -> torch.Tensor:
        """Map the tokens of the frames seen to what the read-out sees of the others; see `Network.decode`."""
        seen, hidden = (self.positions[frames] for frames in view)
        tokens = torch.cat([tokens + seen, self.mask_token + hidden], 1)
        states: torch.Tensor = self.norm(self.layers(tokens)[:, seen.shape[1] :])
        return states


def start_linear(module: nn.Module) -> None:
    """Give a linear layer the released start: Xavier's uniform weights and biases of 0."""
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def cut_normal(*shape: int) -> torch.Tensor:
    """Draw from a normal distribution of deviation .02 without what lies further away than that (released)."""
    share = math.erf(0.5**0.5)  # that lies no further away
    drawn: torch.Tensor = 0.02 * 2**0.5 * torch.empty(shape).uniform_(-share, share).erfinv()
    return drawn


def stacked(views: Sequence[View]) -> View:
    """Return views of the same videos as one view of that many copies of the batch."""
    visible, hidden = (torch.cat(part) for part in zip(*views, strict=True))
    return View(visible, hidden)


def hidden_error(
    videos: torch.Tensor, packed: torch.Tensor, views: Sequence[View], states: torch.Tensor, read_out: nn.Linear
) -> torch.Tensor:
    """Return the sum of ||v - W h - b||^2 over the frames v that the views miss, without making a reconstructed frame.

    Multiplied out as in `vhbench.methods.read_out`; a frame that several views miss is multiplied once.

    Args:
        videos: frames, shape (batch, frames, dim).
        packed: the same as `vhbench.methods.read_out.pack` returns them.
        views: of the same batch.
        states: h, shape (views * batch, frames that a view misses, width).
        read_out: W and b.
    """
    products = packed @ read_out.weight
    missed = torch.cat([view.missed(products) for view in views])
    with torch.autocast(states.device.type, enabled=False):
        times = videos.new_zeros(videos.shape[:2])
        for view in views:
            times = times + torch.zeros_like(times).scatter(1, view.hidden, 1.0)
        size = (times * torch.linalg.vector_norm(videos, dim=2).square()).sum()
        total = times.flatten() @ videos.flatten(0, 1)
    return error_of_products(missed, size, total, states, read_out)
