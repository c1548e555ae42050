"""Small networks of which a study by loss may say something, or nothing: for tests of `vhbench tune`."""

import torch
from torch import nn

from vhbench import NeuralMethod


class Judged(NeuralMethod):
    """A linear autoencoder of the mean frame, with a weight on its loss."""

    name = "judged"

    def __init__(self, bits, *, epochs=1, batch_size=8, lr=1e-2, weight_decay=0.0, weight: float = 1.0, form="a"):
        self.bits, self.epochs, self.batch_size, self.lr, self.weight_decay = bits, epochs, batch_size, lr, weight_decay
        self.weight, self.form = weight, form

    def build(self, frames, dim):
        return nn.ModuleList([nn.Linear(dim, self.bits), nn.Dropout(0.5), nn.Linear(self.bits, dim)])

    def loss(self, module, videos, moment):
        mean = videos.mean(1)
        encoder, dropout, decoder = module
        terms = {"recon": (decoder(dropout(encoder(mean).tanh())) - mean).square().mean()}
        return {name: self.weight * term for name, term in terms.items()}

    def codes(self, module, videos):
        return module[0](videos.mean(1)) >= 0


class WithRows(Judged):
    """Its loss reads a state of each training video."""

    name = "with-rows"

    def loss(self, module, videos, moment):
        return {"rows": super().loss(module, videos, moment)["recon"] + 0 * moment.rows.sum()}


class WithInputs(Judged):
    """It learns from what it makes of its training videos."""

    name = "with-inputs"

    def inputs(self, module, train, moment):
        return train


class WithGradient(Judged):
    """Its gradient is its own."""

    name = "with-gradient"

    def gradient(self, module, videos, moment):
        return super().gradient(module, videos, moment)


class Diverged(Judged):
    """Its loss on what it has not seen is no number."""

    name = "diverged"

    def loss(self, module, videos, moment):
        terms = super().loss(module, videos, moment)
        return terms if module.training else {"recon": torch.tensor(torch.nan)}
