"""A toy method that uses all that the training loop offers, for tests of the loop."""

import torch
from torch import nn

from vhbench import NeuralMethod


class EveryHook(NeuralMethod):
    """Learns bits of mean frames in two stages: real-valued ones, then sampled ones by a score-function estimate."""

    name = "every-hook"

    def __init__(
        self, bits, *, epochs=20, batch_size=16, lr=1e-2, weight_decay=0.0, stage1_epochs: int = 20, mask_ratio=0.5
    ):
        self.bits, self.epochs, self.batch_size, self.lr, self.weight_decay = bits, epochs, batch_size, lr, weight_decay
        self.stage1_epochs, self.mask_ratio = stage1_epochs, mask_ratio

    def build(self, frames, dim):
        return nn.ModuleDict({"encoder": nn.Linear(dim, self.bits), "decoder": nn.Linear(self.bits, dim)})

    def stages(self, epochs):
        return round(self.stage1_epochs * epochs / self.epochs), epochs

    def start_stage(self, module, train, moment):
        start = torch.from_numpy(train.mean_frames()).to(moment.ctx.device)
        module.register_buffer("memory", start, persistent=False)  # of each training video: the mean of its views

    def start_epoch(self, module, train, moment):
        module.register_buffer("noise", torch.tensor(moment.rng("noise").random() / 10), persistent=False)

    def end_epoch(self, module, train, moment):
        module.memory += 0.01 * (module.memory.mean(0) - module.memory)

    def optimizer(self, module):
        return (
            torch.optim.Adam(module["encoder"].parameters(), lr=self.lr),
            torch.optim.SGD(module["decoder"].parameters(), lr=10 * self.lr, momentum=0.9),
        )

    def lr_factor(self, moment):
        return 0.95**moment.epoch * min(1, (moment.step + 1) / 5)

    def views(self, videos):
        """Return the means of two random parts of each video's frames; the random numbers are the loop's own."""
        batch, frames, _ = videos.shape
        order = torch.rand(batch, frames, device=videos.device).argsort(1)
        kept = frames - int(self.mask_ratio * frames)
        return [(videos * (rank < kept).unsqueeze(2)).sum(1) / kept for rank in (order, frames - 1 - order)]

    def loss(self, module, videos, moment):
        one, two = (module["encoder"](view).float().tanh() for view in self.views(videos))
        module.memory[moment.rows] = 0.9 * module.memory[moment.rows] + 0.1 * videos.mean(1)
        kept = module["encoder"](module.memory[moment.rows]).float().tanh()
        return {"agree": (one - two).square().mean() + module.noise * (one - kept).square().mean()} | (
            {"recon": self.distances(module, one, videos).mean()} if moment.stage == 0 else {}
        )

    def distances(self, module, code, videos):
        return (module["decoder"](code).float() - videos.mean(1)).square().mean(1, keepdim=True)

    def gradient(self, module, videos, moment):
        parts = super().gradient(module, videos, moment)
        if moment.stage == 1:  # two draws, each the other's baseline
            p = module["encoder"](videos.mean(1)).sigmoid()
            draws = [torch.bernoulli(p.detach()) for _ in range(2)]
            one, two = (self.distances(module, 2 * bits - 1, videos) for bits in draws)
            score = ((one - two).detach() * (draws[0] - draws[1]) * p.logit() / 2).sum(1).mean()
            parts["recon"] = (one + two).mean() / 2
            parts["recon"].backward(inputs=[*module["decoder"].parameters()])
            score.backward(inputs=[*module["encoder"].parameters()])
        return parts

    def before_step(self, module, moment):
        nn.utils.clip_grad_norm_(module.parameters(), 1.0)

    def codes(self, module, videos):
        return module["encoder"](videos.mean(1)) >= 0
