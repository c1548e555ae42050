"""The peephole LSTM with per-step batch normalisation and its linear read-out, which SSTH, JTAE and SSVH share."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn

from vhbench.errors import MethodError
from vhbench.methods.layers import sign_ste

BN_EPS = 1e-5
BN_MOMENTUM = 0.1

State = tuple[torch.Tensor, torch.Tensor]


class PeepholeLSTM(nn.Module):
    """A peephole LSTM over a fixed number of steps, its cell batch-normalised with statistics of each step's own.

    With s the logistic function, * elementwise, and all of W, U, w, b learnt (Zhang et al., SSTH, 2016, as released)::

        i = s(W_i x + U_i h + w_i * c + b_i)
        f = s(W_f x + U_f h + w_f * c + b_f)
        g = tanh(W_g x + U_g h + b_g)
        c' = BN_t(f * c + i * g)
        o = s(W_o x + U_o h + w_o * c' + b_o)
        h' = o * c'    or    o * tanh(c')

    c' and h' go on to step t + 1; with `binary`, sign(h') does in place of h' (straight-through gradient).

    Weights start as in the released code: input weights Glorot-uniform and recurrent ones orthogonal times 1.1, each
    gate by itself, peepholes uniform in [-0.1, 0.1], biases 0 but for the forget gate's 1.

    Differences from the released batch normalisation, and why: `eps` is 1e-5 for 1e-10, because a unit that is constant
    over a batch would otherwise amplify float32 rounding and its gradient 1e5-fold. Running statistics move by 0.1 a
    step for 0.01, and the first ten steps are averaged equally, because small training sets take a few hundred steps
    and short budgets a handful; running variances are kept where the code keeps standard deviations.

    Args:
        channels: input channels; 0 for a cell without input, as in a decoder that sees its initial state only.
        hidden: hidden units.
        steps: steps of a sequence.
        binary: feed the sign of the hidden state back.
        tanh: pass the cell through tanh on its way to the hidden state.
    """

    running_mean: torch.Tensor
    running_var: torch.Tensor
    batches: torch.Tensor

    def __init__(self, channels: int, hidden: int, steps: int, *, binary: bool = False, tanh: bool = False):
        super().__init__()
        self.channels, self.hidden, self.steps = channels, hidden, steps
        self.binary, self.tanh = binary, tanh
        # gates in the order i, f, o, g
        self.weight_ih = nn.Parameter(torch.empty(4 * hidden, channels)) if channels else None
        self.weight_hh = nn.Parameter(torch.empty(4 * hidden, hidden))
        self.bias = nn.Parameter(torch.zeros(4 * hidden))
        self.peepholes = nn.Parameter(torch.empty(3, hidden).uniform_(-0.1, 0.1))
        self.gamma = nn.Parameter(torch.ones(steps, hidden))
        self.beta = nn.Parameter(torch.zeros(steps, hidden))
        self.register_buffer("running_mean", torch.zeros(steps, hidden))
        self.register_buffer("running_var", torch.ones(steps, hidden))
        self.register_buffer("batches", torch.zeros(()))
        with torch.no_grad():
            self.bias[hidden : 2 * hidden] = 1
            for gate in range(4):
                rows = slice(gate * hidden, (gate + 1) * hidden)
                nn.init.orthogonal_(self.weight_hh[rows], gain=1.1)
                if self.weight_ih is not None:
                    nn.init.xavier_uniform_(self.weight_ih[rows])

    def forward(self, x: torch.Tensor | None, state: State | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """Run over the sequence.

        Under autocast the input's share of the gates is computed in the lower precision, the recurrence never.

        Args:
            x: inputs (batch, steps, channels); None for a cell without input.
            state: hidden state and batch-normalised cell to start from, each (batch, hidden); zeros by default.

        Returns:
            the hidden states (batch, steps, hidden), real-valued also with `binary`, and the last batch-normalised
            cell (batch, hidden).

        Raises:
            MethodError: the inputs are not of the steps and channels that the cell was built for.
        """
        gates = self._input_share(x)
        if state is None:
            if x is None:
                raise MethodError("A PeepholeLSTM without input needs an initial state: pass state=(h, c).")
            h = c = self.bias.new_zeros(len(x), self.hidden)
        else:
            h, c = state[0].to(self.bias.dtype), state[1].to(self.bias.dtype)
        with torch.autocast(h.device.type, enabled=False):
            return self._recur(gates, h, c)

    def _input_share(self, x: torch.Tensor | None) -> list[torch.Tensor]:
        """Return W x + b of all gates, (batch, 4 * hidden) a step, or b alone."""
        if self.weight_ih is None:
            if x is not None:
                raise MethodError(f"A PeepholeLSTM of 0 channels takes no input; it got shape {tuple(x.shape)}.")
            return [self.bias] * self.steps
        if x is None or x.dim() != 3 or tuple(x.shape[1:]) != (self.steps, self.channels):
            got = "no input" if x is None else f"shape {tuple(x.shape)}"
            raise MethodError(
                f"This PeepholeLSTM was built for input of shape (batch, {self.steps}, {self.channels}); it got {got}."
            )
        share = nn.functional.linear(x, self.weight_ih).to(self.bias.dtype) + self.bias
        return list(share.unbind(1))

    def _recur(self, gates: list[torch.Tensor], h: torch.Tensor, c: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        size = self.hidden
        recurrent = self.weight_hh.t()
        peep_input_forget, peep_output = self.peepholes[:2], self.peepholes[2]
        means, variances = self._statistics()
        states = []
        for gate, gamma, beta, mean, var in zip(
            gates, self.gamma.unbind(), self.beta.unbind(), means, variances, strict=True
        ):
            before = torch.addmm(gate, h, recurrent)
            gated = before[:, : 2 * size].view(-1, 2, size)
            i, f = torch.addcmul(gated, c.unsqueeze(1), peep_input_forget).sigmoid().unbind(1)
            c = torch.addcmul(f * c, i, before[:, 3 * size :].tanh())
            # momentum 1 leaves this batch's statistics in mean and var
            c = nn.functional.batch_norm(c, mean, var, gamma, beta, self.training, 1.0, BN_EPS)
            o = torch.addcmul(before[:, 2 * size : 3 * size], c, peep_output).sigmoid()
            states.append(o * (c.tanh() if self.tanh else c))
            h = sign_ste(states[-1]) if self.binary else states[-1]
        if self.training:
            self._follow(torch.stack(means), torch.stack(variances))
        return torch.stack(states, 1), c

    def _statistics(self) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """Return a mean and a variance for each step: the running ones, or in training scratch space to be filled."""
        if not self.training:
            return list(self.running_mean.unbind()), list(self.running_var.unbind())
        return [torch.zeros_like(m) for m in self.running_mean], [torch.zeros_like(v) for v in self.running_var]

    @torch.no_grad()
    def _follow(self, means: torch.Tensor, variances: torch.Tensor) -> None:
        """Move the running statistics towards a batch's: the mean of the first batches, then exponential."""
        self.batches += 1
        weight = self.batches.reciprocal().clamp(min=BN_MOMENTUM).to(means.dtype)
        self.running_mean.lerp_(means, weight)
        self.running_var.lerp_(variances, weight)


class Target(NamedTuple):
    """Vectors to be reconstructed, and what the squared error needs of them.

    Attributes:
        rows: shape (rows, dim); the lower precision under autocast.
        mean: float32, shape (dim,).
        power: mean squared norm of the rows, float32, scalar.
    """

    rows: torch.Tensor
    mean: torch.Tensor
    power: torch.Tensor


@torch.no_grad()
def target(rows: torch.Tensor) -> Target:
    """Return vectors, float32 of shape (rows, dim), as a target that several read-outs can share."""
    low = rows
    if torch.is_autocast_enabled(rows.device.type):
        low = rows.to(torch.get_autocast_dtype(rows.device.type))  # once, before several products read it
    return Target(low, rows.mean(0), torch.linalg.vector_norm(rows, dim=1).square().mean())


class ReadOut(nn.Linear):
    """A linear map with Glorot-uniform weights and zero biases, and its squared error as a reconstruction.

    Args:
        hidden: input size.
        dim: size of what is reconstructed.
        heads: vectors reconstructed at once, one after the other in the output; each has weights of its own.
    """

    def __init__(self, hidden: int, dim: int, heads: int = 1):
        super().__init__(hidden, heads * dim)
        for head in self.weight.chunk(heads):
            nn.init.xavier_uniform_(head)
        nn.init.zeros_(self.bias)

    def start_at(self, mean: torch.Tensor) -> None:
        """Let every head's bias start at a mean vector (dim,), so that no step is spent on learning it."""
        with torch.no_grad():
            self.bias.view(-1, len(mean)).copy_(mean)

    def error(self, hidden: torch.Tensor, target: Target) -> torch.Tensor:
        """Return the mean over rows of ||v - W h - b||^2.

        The square is multiplied out: of what is as large as the target, only V W and V'H are computed, in all two
        products of the three that go through W h + b, and no array of the target's size is made. Rounding is relative
        to ||v||^2 (float32: 1e-6), so a nearly perfect reconstruction could read as slightly below zero.

        Args:
            hidden: h, float32, shape (rows, hidden).
            target: v.
        """
        weight, bias = self.weight, self.bias
        seen = (target.rows @ weight).to(hidden.dtype)
        with torch.autocast(hidden.device.type, enabled=False):
            cross = (seen * hidden).sum(1).mean() + target.mean @ bias
            moment = hidden.t() @ hidden / len(hidden)
            own = (moment * (weight.t() @ weight)).sum() + (2 * (weight @ hidden.mean(0)) + bias) @ bias
            return target.power - 2 * cross + own


class Decoder(nn.Module):
    """A peephole LSTM without input that starts from a code, read out linearly at each step.

    Args:
        bits: code length, and hidden units.
        steps: vectors to be reconstructed.
        dim: their size.
    """

    def __init__(self, bits: int, steps: int, dim: int):
        super().__init__()
        self.lstm = PeepholeLSTM(0, bits, steps, tanh=True)
        self.read_out = ReadOut(bits, dim)

    def forward(self, code: torch.Tensor, cell: torch.Tensor | None = None) -> torch.Tensor:
        """Return the hidden states (batch, steps, bits), to be read out.

        Args:
            code: initial hidden state, -1 or +1, shape (batch, bits).
            cell: initial cell, shape (batch, bits); zeros by default, so that only the code is seen.
        """
        hidden: torch.Tensor = self.lstm(None, (code, torch.zeros_like(code) if cell is None else cell))[0]
        return hidden
