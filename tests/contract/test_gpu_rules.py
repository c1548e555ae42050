"""Each rule of a method on a GPU catches methods that break it, without a GPU, and says what to do."""

from __future__ import annotations

from unittest import mock

import pytest
import torch
from torch import nn

from vhbench import training
from vhbench.testing.gpu_rules import GPU_RULES, GpuSubject
from vhbench.testing.simulated_gpu import unavailable
from vhbench.training import NeuralMethod

if reason := unavailable():
    pytest.skip(reason, allow_module_level=True)

FAULTS = []
ALL = "trains_on_a_gpu_as_on_the_cpu"  # what stops the training breaks every rule


def fault(rule, message):
    """Register a class as one that breaks `rule`, with a message that contains `message`."""

    def register(cls):
        FAULTS.append(pytest.param(rule, cls, message, id=cls.__name__))
        return cls

    return register


class Sound(NeuralMethod):
    """A linear autoencoder of the mean frame that pulls each video's value towards what it last was."""

    name = "sound"

    def __init__(self, bits, *, epochs=6, batch_size=8, lr=1e-2, weight_decay=0.0):
        self.bits = bits
        self.epochs = epochs
        self.batch_size = batch_size
        self.lr = lr
        self.weight_decay = weight_decay

    def build(self, frames, dim):
        module = nn.Module()
        module.encoder, module.decoder = nn.Linear(dim, self.bits), nn.Linear(self.bits, dim)
        module.register_buffer("centre", torch.zeros(self.bits))
        return module

    def prepare(self, module, train, ctx):
        module.register_buffer("bank", torch.zeros(len(train), self.bits, device=ctx.device), persistent=False)

    def loss(self, module, videos, moment):
        x = videos.mean(1)
        h = module.encoder(x).float()
        kept = (h - self.kept(module, moment)).square().mean()
        self.keep(module, h.detach(), moment)
        return {"recon": (module.decoder(h).float() - x).square().mean(), "kept": self.weight(module, h) * kept}

    def kept(self, module, moment):
        return module.bank[moment.rows]

    def keep(self, module, h, moment):
        module.bank[moment.rows] = h
        module.centre.lerp_(h.mean(0), 0.1)

    def weight(self, module, h):
        return 0.5

    def codes(self, module, videos):
        return module.encoder(videos.mean(1)) >= module.centre


@pytest.mark.parametrize("rule", GPU_RULES.values())
def test_a_sound_method_keeps_every_rule(rule):
    rule(GpuSubject(Sound))


class ShortStages(Sound):
    """Waits between its stages, whose epochs have the same numbers and are more than the budget's."""

    def stages(self, epochs):
        return 1, 4

    def start_stage(self, module, train, moment):
        module.centre.fill_(float(module.centre.sum()))


def test_what_begins_a_stage_is_no_step_and_each_of_its_epochs_reads_the_videos():
    subject = GpuSubject(ShortStages)
    for name in ("a_step_does_not_wait_for_the_gpu", "a_step_uploads_its_videos_only"):
        GPU_RULES[name](subject)


def test_every_rule_states_itself_in_one_sentence():
    for name, rule in GPU_RULES.items():
        assert rule.__name__ == name
        assert rule.__doc__.count("\n") == 0 and rule.__doc__.endswith(".")


# what is left on the CPU


@fault("a_step_uploads_its_videos_only", "an index on the CPU at test_gpu_rules.py")
class IndexOnTheCpu(Sound):
    def kept(self, module, moment):
        return module.bank[moment.rows.cpu()]


@fault(ALL, "Expected all tensors to be on the same device")
class GathersByAnIndexOnTheCpu(Sound):
    def build(self, frames, dim):
        module = super().build(frames, dim)
        module.order = torch.arange(24)  # an attribute, which `.to(device)` does not move
        return module

    def kept(self, module, moment):
        return module.bank.index_select(0, module.order[:8])


@fault(ALL, "Expected all tensors to be on the same device")
class StateOnTheCpu(Sound):
    def prepare(self, module, train, ctx):
        module.bank = torch.zeros(len(train), self.bits)
        module.scale = torch.ones(self.bits)

    def kept(self, module, moment):
        return module.bank[:8].to(moment.rows.device) * module.scale


@fault(ALL, "indices should be either on cpu or on the same device")
class BufferNotMoved(Sound):
    def prepare(self, module, train, ctx):
        module.register_buffer("bank", torch.zeros(len(train), self.bits), persistent=False)


@fault("everything_lies_on_the_gpu", "scale stay on the CPU: make what `prepare` adds on ctx.device")
class NumberNotMoved(Sound):
    def prepare(self, module, train, ctx):
        super().prepare(module, train, ctx)
        module.register_buffer("scale", torch.tensor(0.5))  # one number goes everywhere, at the price of looking

    def weight(self, module, h):
        return module.scale


@fault(ALL, "Expected all tensors to be on the same device")
class TermOnTheCpu(Sound):
    def loss(self, module, videos, moment):
        return {**super().loss(module, videos, moment), "none": torch.zeros(())}


@fault(ALL, "Expected a 'cuda' device type for generator but found 'cpu'")
class GeneratorOfTheCpu(Sound):
    def kept(self, module, moment):
        generator = torch.Generator().manual_seed(moment.step)
        return torch.rand(len(moment.rows), self.bits, generator=generator, device=moment.rows.device)


# what makes the host wait, or copies, in each step


@fault("a_step_does_not_wait_for_the_gpu", "item at test_gpu_rules.py")
class ReadsAFloat(Sound):
    def weight(self, module, h):
        return 1 / (1 + float(h.detach().abs().mean()))


@fault("a_step_does_not_wait_for_the_gpu", "item at test_gpu_rules.py")
class AsksATensor(Sound):
    def weight(self, module, h):
        return 0.5 if h.detach().mean() > 0 else 0.25


@fault("a_step_does_not_wait_for_the_gpu", "a boolean mask as index at test_gpu_rules.py")
class IndexesByAMask(Sound):
    def weight(self, module, h):
        return h[h.detach() > 0].mean()


@fault("a_step_does_not_wait_for_the_gpu", "cpu at test_gpu_rules.py")
class ReturnsToTheCpu(Sound):
    def kept(self, module, moment):
        return module.bank[moment.rows].cpu().to(moment.rows.device)


@fault("a_step_uploads_its_videos_only", "to at test_gpu_rules.py")
class MakesAnOrderOnTheHost(Sound):
    def kept(self, module, moment):
        return module.bank[moment.rows][torch.randperm(len(moment.rows)).to(moment.rows.device)]


@fault("a_step_uploads_its_videos_only", "tensor at test_gpu_rules.py")
class MakesAConstantInEachStep(Sound):
    def weight(self, module, h):
        return torch.tensor([0.5], device=h.device)[0]


@fault("a_step_uploads_its_videos_only", "a number put in at an index at test_gpu_rules.py")
class PutsANumberIn(Sound):
    def keep(self, module, h, moment):
        module.bank[moment.rows] = 0.0
        super().keep(module, h, moment)


# what a GPU computes otherwise


@fault(ALL, "`.cpu()` is the tensor itself on the CPU and a copy on a GPU")
class MissesACopyBack(Sound):
    def keep(self, module, h, moment):
        module.bank.cpu()[moment.rows.cpu()] = h.cpu()


@fault(ALL, "both must compute the same function")
class HasAnotherFormForGpus(Sound):
    def weight(self, module, h):
        return 0.6 if h.is_cuda else 0.5


@fault("trains_in_bf16_on_a_gpu_as_on_the_cpu", "on the CPU (bf16)")
class MissesACopyBackInBf16(MissesACopyBack):
    def keep(self, module, h, moment):
        if moment.ctx.precision == "bf16":
            super().keep(module, h, moment)


class Recurrent(Sound):
    def build(self, frames, dim):
        module = super().build(frames, dim)
        module.lstm = nn.LSTM(dim, dim, batch_first=True)
        return module

    def loss(self, module, videos, moment):
        return super().loss(module, module.lstm(videos)[0].float(), moment)


FAULTS.append(
    pytest.param("recurrent_layers_run_outside_autocast", Recurrent, "lstm under autocast", id="AutocastsAnLSTM")
)


# what is kept


@fault("resumes_on_a_gpu", "keep what training changes in parameters and buffers")
class StateIsNoBuffer(Sound):
    def prepare(self, module, train, ctx):
        module.bank = torch.zeros(len(train), self.bits, device=ctx.device)


@fault("resumes_on_a_gpu", "keep what training changes in parameters and buffers")
class StateOfTheMethod(Sound):
    def keep(self, module, h, moment):
        super().keep(module, h, moment)
        self.seen_ = getattr(self, "seen_", 0) + 1

    def weight(self, module, h):
        return 0.5 / (1 + getattr(self, "seen_", 0))


@fault("a_model_of_a_gpu_is_read_on_the_cpu", "keep all that `encode` uses in parameters and buffers")
class CodesNeedMoreThanIsSaved(Sound):
    def prepare(self, module, train, ctx):
        super().prepare(module, train, ctx)
        module.register_buffer("threshold", torch.ones(self.bits, device=ctx.device), persistent=False)

    def codes(self, module, videos):
        threshold = module.threshold if hasattr(module, "threshold") else 0.0
        return module.encoder(videos.mean(1)) >= threshold


@fault("a_model_of_a_gpu_is_read_on_the_cpu", "can't convert cuda:0 device type tensor to numpy")
class SavesWithoutACopy(Sound):
    def save(self, path):
        self.centre_ = self.module_.centre.numpy()
        super().save(path)


@fault(ALL, "Expected all tensors to be on the same device")
class ComparesWithATensorOnTheCpu(Sound):
    def codes(self, module, videos):
        return module.encoder(videos.mean(1)) >= torch.zeros(self.bits)


@pytest.mark.parametrize(("rule", "method", "message"), FAULTS)
def test_a_planted_fault_is_caught(rule, method, message):
    with pytest.raises(Exception) as failure:
        GPU_RULES[rule](GpuSubject(method))
    assert message in str(failure.value)


def test_a_checkpoint_without_buffers_is_caught():
    """A fault of the training loop."""

    def parameters_alone(module):
        return {name: tensor.detach() for name, tensor in module.named_parameters()}

    with (
        mock.patch.object(training, "_tensors", parameters_alone),
        pytest.raises(Exception, match="a resumed training"),
    ):
        GPU_RULES["resumes_on_a_gpu"](GpuSubject(Sound))


def test_an_order_that_the_loop_makes_on_the_host_in_each_step_is_caught():
    """A fault of the training loop."""
    gradient = training.Training.gradient

    def late(self, videos, moment):
        return gradient(self, videos, training.replace(moment, rows=moment.rows.cpu().to(moment.rows.device)))

    with mock.patch.object(training.Training, "gradient", late):
        for rule in ("a_step_does_not_wait_for_the_gpu", "a_step_uploads_its_videos_only"):
            with pytest.raises(AssertionError, match=r"test_gpu_rules\.py"):
                GPU_RULES[rule](GpuSubject(Sound))


def test_every_rule_has_a_fault():
    assert {param.values[0] for param in FAULTS} == set(GPU_RULES)
