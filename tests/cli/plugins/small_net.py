"""A small neural method for tests that stop and continue a training: with `pause`, its epochs take time but no work."""

import time

import torch
from torch import nn

from vhbench import NeuralMethod


class SmallNet(NeuralMethod):
    """An autoencoder of the mean frame with dropout, so that training draws random numbers in every step."""

    name = "small-net"

    def __init__(
        self, bits, *, epochs=12, batch_size=16, lr=1e-2, weight_decay=1e-4, width: int = 64, pause: float = 0.0
    ):
        self.bits = bits
        self.epochs = epochs
        self.batch_size = batch_size
        self.lr = lr
        self.weight_decay = weight_decay
        self.width = width
        self.pause = pause

    def build(self, frames, dim):
        layers = [nn.Linear(dim, self.width), nn.BatchNorm1d(self.width), nn.Tanh(), nn.Linear(self.width, self.bits)]
        return nn.ModuleList([nn.Sequential(*layers), nn.Sequential(nn.Dropout(0.2), nn.Linear(self.bits, dim))])

    def loss(self, module, videos, moment):
        time.sleep(self.pause)
        mean = videos.mean(1)
        encoder, decoder = module
        return {"recon": (decoder(encoder(mean).tanh()) - mean).square().mean() + 0 * torch.rand(())}

    def codes(self, module, videos):
        return module[0](videos.mean(1)) >= 0
