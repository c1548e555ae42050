"""Each ablation of UVVH changes the computation that the paper names, and nothing else.

A variant and UVVH itself get the same weights, videos and generator state; everything that one step of training and an
encoding compute is written down, and compared exactly.
"""

import copy
import itertools

import numpy as np
import pytest
import torch

from vhbench.method import Budget, FitContext
from vhbench.methods import uvvh, variational
from vhbench.methods.layers import sign
from vhbench.plugins.registry import Registry
from vhbench.training import Moment
from vhbench.videos import VideoSet

BITS, FRAMES, DIM, EPOCHS = 6, 8, 3, 80
FIRST, LAST = 0, 79  # epochs of the deterministic and of the probabilistic stage
VARIANTS = ["uvh", "uvvh-1", "uvvh-nopro", "uvvh-q"]
SAME_NETWORK = ["uvh", "uvvh-1", "uvvh-q"]
ENTRIES = {entry.name: entry for entry in Registry().methods() if entry.name in ("uvvh", *VARIANTS)}


@pytest.fixture(autouse=True)
def narrow(monkeypatch):
    """Few channels, so that a step takes milliseconds; nothing else changes."""
    monkeypatch.setattr(uvvh, "CHANNELS", (6, 5, 4))
    monkeypatch.setattr(uvvh, "LSTM_HIDDEN", 5)


def make(name: str, **params):
    """Return the method as the command line makes it, with a small t_p unless the variant leaves t_p out."""
    entry = ENTRIES[name]
    size = {"intermediate": 7} if entry.params["intermediate"].default else {}
    return entry.make(BITS, **{**size, **params})


def build(method, seed: int = 0, dtype: torch.dtype = torch.float64):
    """Return the network of a seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return method.build(FRAMES, DIM).to(dtype)


def pair(name: str, **params):
    """Return UVVH and a variant with the same weights; a projection of the variant's own keeps its own."""
    methods = make("uvvh", **params), make(name, **params)
    modules = [build(method) for method in methods]
    theirs = modules[1].state_dict()
    shared = {key: p for key, p in modules[0].state_dict().items() if key in theirs and p.shape == theirs[key].shape}
    modules[1].load_state_dict(shared, strict=False)
    return list(zip(methods, modules, strict=True))


def videos(n: int = 5) -> torch.Tensor:
    return 2 * torch.randn(n, FRAMES, DIM, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def trace(method, module, epoch: int) -> dict[str, torch.Tensor]:
    """Return all that a step of training at an epoch computes, and the codes that encoding then gives."""
    found, module = {}, copy.deepcopy(module)  # a step moves the running statistics

    def keep(**tensors):
        found.update({name: value.detach().clone() for name, value in tensors.items()})

    decoder = module.decoder
    hooks = [
        module.encoder.register_forward_hook(lambda _, args, out: keep(mu=out[0], log_sigma=out[1])),
        decoder.register_forward_hook(lambda _, args, out: keep(decoder_input=args[0], frames=out)),
        decoder.project.register_forward_hook(lambda _, args, out: keep(t_hat=out)),
    ]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        module.zero_grad()
        terms = method.loss(module, videos(), Moment(epoch, EPOCHS))
        keep(generator=torch.get_rng_state(), **terms)
        sum(terms.values()).backward()
        grads = {name: p.grad for name, p in module.named_parameters() if p.grad is not None}
        keep(**{f"gradient of {name}": grad for name, grad in grads.items()})
        keep(**{f"statistics of {name}": buffer for name, buffer in module.named_buffers()})
    for hook in hooks:
        hook.remove()
    module.eval()
    with torch.no_grad():
        keep(codes=method.codes(module, videos()))
    return found


def differing(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> set[str]:
    """Return the names of what is not exactly equal, or in one of the two only, sorted by what it belongs to."""
    names = {n for n in a.keys() | b.keys() if n not in a or n not in b or not torch.equal(a[n], b[n])}
    return {name.split(".")[0] for name in names}


# what follows from another input of the decoder
DECODED = {"decoder_input", "t_hat", "frames", "recon", "statistics of decoder"}
DECODED |= {"gradient of encoder", "gradient of decoder"}
CHANGES = {
    ("uvh", FIRST): set(),
    ("uvh", LAST): {"generator", "kl"} | DECODED,
    ("uvvh-1", FIRST): {"generator", "kl"} | DECODED,
    ("uvvh-1", LAST): set(),
    ("uvvh-nopro", FIRST): DECODED - {"decoder_input"},
    ("uvvh-nopro", LAST): DECODED - {"decoder_input"},
    ("uvvh-q", FIRST): {"quantization"} | DECODED,
    ("uvvh-q", LAST): {"quantization"} | DECODED,
}


@pytest.mark.parametrize(("name", "epoch"), CHANGES)
def test_a_step_of_training_changes_only_in(name, epoch):
    base, variant = (trace(method, module, epoch) for method, module in pair(name, dropout=0.0))
    assert differing(base, variant) == CHANGES[name, epoch]


@pytest.mark.parametrize(("name", "epoch"), list(itertools.product(["uvvh", *VARIANTS], [FIRST, LAST])))
def test_the_terms_that_stay_are_the_same_functions(name, epoch):
    """Eq. 15 of the frames decoded, Eq. 6 of mu and log sigma, both with weight 1."""
    method = make(name)
    found = trace(method, build(method), epoch)
    error = (videos() - found["frames"]).numpy() ** 2
    assert found["recon"].item() == pytest.approx(error.sum() / (5 * FRAMES), rel=1e-9)
    if "kl" in found:
        mu, s = found["mu"].numpy(), found["log_sigma"].numpy()
        assert found["kl"].item() == pytest.approx((mu**2 + np.exp(2 * s) - 1 - 2 * s).sum() / (2 * 5), rel=1e-9)


@pytest.mark.parametrize("epoch", [FIRST, LAST])
def test_the_same_step_twice_is_the_same(epoch):
    """What the traces compare is exact: only a switch makes them differ."""
    (method, module), _ = pair("uvh")  # with dropout
    assert differing(trace(method, module, epoch), trace(method, module, epoch)) == set()


@pytest.mark.parametrize("name", VARIANTS)
def test_a_variant_turns_one_switch(name):
    ours, theirs = ENTRIES["uvvh"].make(BITS).get_params(), ENTRIES[name].make(BITS).get_params()
    switch = {"uvh": "warmup", "uvvh-1": "warmup", "uvvh-nopro": "intermediate", "uvvh-q": "quantization_weight"}[name]
    assert {key for key in ours if ours[key] != theirs[key]} == {switch}


@pytest.mark.parametrize("name", SAME_NETWORK)
def test_the_network_and_its_first_weights_are_the_same(name):
    base, variant = (build(make(n)).state_dict() for n in ("uvvh", name))
    assert list(base) == list(variant)
    assert all(torch.equal(base[key], variant[key]) for key in base)


@pytest.mark.parametrize("name", VARIANTS)
def test_codes_of_the_same_weights_are_the_same(name):
    (base, module), (variant, other) = pair(name)
    codes = [method.codes(net.eval(), videos(40)) for method, net in ((base, module), (variant, other))]
    assert torch.equal(*codes)
    assert torch.equal(codes[1], other.encoder(videos(40))[0] >= 0)


# the stages: UVH and UVVH-1


def test_uvh_is_the_first_stage_at_every_epoch():
    (base, module), (uvh, other) = pair("uvh")
    first = trace(base, module, FIRST)
    for epoch in range(0, EPOCHS, 7):
        assert differing(first, trace(uvh, other, epoch)) == set()


def test_uvvh_1_is_the_second_stage_at_every_epoch():
    (base, module), (one_stage, other) = pair("uvvh-1")
    second = trace(base, module, LAST)
    for epoch in range(0, EPOCHS, 7):
        assert differing(second, trace(one_stage, other, epoch)) == set()


def test_uvh_never_draws_a_random_number():
    _, (uvh, module) = pair("uvh", dropout=0.0)
    before = torch.get_rng_state()
    for epoch in range(EPOCHS):
        assert uvh.loss(module, videos(), Moment(epoch, EPOCHS)).keys() == {"recon"}
    assert torch.equal(torch.get_rng_state(), before)


def test_uvvh_1_draws_one_number_a_bit_at_every_epoch():
    _, (one_stage, module) = pair("uvvh-1", dropout=0.0)
    with torch.random.fork_rng(devices=[]):
        for epoch in (0, 1, 49, 50, 79):
            torch.manual_seed(epoch)
            assert one_stage.loss(module, videos(), Moment(epoch, EPOCHS)).keys() == {"recon", "kl"}
            after = torch.get_rng_state()
            torch.manual_seed(epoch)
            torch.randn(5, BITS, dtype=torch.float64)
            assert torch.equal(torch.get_rng_state(), after)


@pytest.mark.parametrize(("name", "equal_epochs"), [("uvh", 5), ("uvvh-1", 0), ("uvvh-nopro", 0), ("uvvh-q", 0)])
def test_whole_trainings_part_where_the_paper_says(name, equal_epochs):
    """8 epochs, the first 5 of them deterministic in UVVH: UVH's losses are UVVH's until then, to the last bit."""
    train = VideoSet(np.random.default_rng(0).standard_normal((12, FRAMES, DIM)).astype(np.float32))
    losses = []
    for method in (make("uvvh", batch_size=6), make(name, batch_size=6)):
        told = []
        method.fit(train, FitContext(budget=Budget(epochs=8), report=lambda epoch, told=told: told.append(epoch.loss)))
        losses.append(told)
    same = [a == b for a, b in zip(*losses, strict=True)]
    assert same == [True] * equal_epochs + [False] * (8 - equal_epochs)


# the projection: UVVH-nopro


def test_nopro_has_one_map_from_the_code_to_t_hat_and_nothing_else_changes():
    base, nopro = (build(make(name)).state_dict() for name in ("uvvh", "uvvh-nopro"))
    shapes = [{key: tuple(p.shape) for key, p in state.items()} for state in (base, nopro)]
    within = [{key: shape for key, shape in s.items() if key.startswith("decoder.project.")} for s in shapes]
    assert list(within[0].values()) == [(7, BITS), (7,), (4, 7), (4,)]  # t_p of 7, t_hat of 4
    assert list(within[1].values()) == [(4, BITS), (4,)]
    for s, project in zip(shapes, within, strict=True):
        for key in project:
            del s[key]
    assert shapes[0] == shapes[1]


def test_nopro_differs_in_t_hat_only():
    """From t_hat on the decoders are one function, and t_hat is tanh of one linear map."""
    (_, module), (_, other) = pair("uvvh-nopro", dropout=0.0)
    h = sign(torch.randn(5, BITS, dtype=torch.float64, generator=torch.Generator().manual_seed(2)))
    linear = other.decoder.project[0]
    torch.testing.assert_close(other.decoder.project(h), torch.tanh(h @ linear.weight.t() + linear.bias))
    assert not torch.equal(module.decoder(h), other.decoder(h))
    t_hat = torch.tanh(torch.randn(5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(3)))
    for net in (module, other):
        net.decoder.project = torch.nn.Identity()
    assert torch.equal(module.decoder(t_hat), other.decoder(t_hat))


# the quantisation loss: UVVH-q


@pytest.mark.parametrize(("epoch", "sampled"), [(FIRST, False), (LAST, True)])
def test_q_decodes_z_where_uvvh_decodes_its_sign(epoch, sampled):
    base, q = (trace(method, module, epoch) for method, module in pair("uvvh-q", dropout=0.0))
    z = q["mu"]
    if sampled:
        noise = torch.randn(5, BITS, dtype=torch.float64, generator=torch.Generator().manual_seed(7))
        z = z + q["log_sigma"].exp() * noise
    assert torch.equal(q["decoder_input"], z)
    assert torch.equal(base["decoder_input"], sign(z))


@pytest.mark.parametrize("epoch", [FIRST, LAST])
def test_q_adds_the_distance_of_z_from_its_sign(epoch):
    _, (method, module) = pair("uvvh-q", dropout=0.0)
    q = trace(method, module, epoch)
    z = q["decoder_input"].numpy()
    distance = np.mean([np.sqrt(sum((1 - abs(value)) ** 2 for value in row)) for row in z])
    assert q["quantization"].item() == pytest.approx(0.1 * distance, rel=1e-9)


def test_q_has_no_straight_through_gradient(monkeypatch):
    def refuse(x):
        raise AssertionError("the straight-through sign is in use")

    monkeypatch.setattr(variational, "sign_ste", refuse)
    (base, module), (q, other) = pair("uvvh-q")
    for epoch in (FIRST, LAST):
        q.loss(other, videos(), Moment(epoch, EPOCHS))
        with pytest.raises(AssertionError, match="in use"):
            base.loss(module, videos(), Moment(epoch, EPOCHS))


@pytest.mark.parametrize(("name", "stopped"), [("uvvh", True), ("uvvh-q", False)])
def test_reconstruction_reaches_mu_beyond_1_without_the_straight_through_gradient_only(name, stopped):
    method = make(name, dropout=0.0)
    module = build(method)
    torch.nn.init.constant_(module.encoder.heads.mu.bias, 9.0)  # every |mu| above 1
    seen = []

    def keep(_, args, out):
        out[0].retain_grad()
        seen.append(out[0])

    module.encoder.register_forward_hook(keep)
    method.loss(module, videos(), Moment(FIRST, EPOCHS))["recon"].backward()
    assert seen[0].abs().min() > 1
    assert (seen[0].grad == 0).all() == stopped


def test_q_and_uvvh_have_one_decoder_and_one_encoder():
    (_, module), (_, other) = pair("uvvh-q", dropout=0.0)
    probe = torch.randn(5, BITS, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    assert torch.equal(module.decoder(probe), other.decoder(probe))
    for a, b in itertools.zip_longest(module.encoder(videos()), other.encoder(videos())):
        assert torch.equal(a, b)
