"""AutoSSVH against the numbers of its authors' program (README.md): network, clusters, losses, gradients, sampler."""

import pytest
import torch
from reading import Numbers, assert_close, copy_state
from test_conmh import released_names

from vhbench.methods import conmh
from vhbench.methods.autossvh import AutoSSVH
from vhbench.methods.conmh import stacked
from vhbench.methods.frame_sampler import FrameSampler
from vhbench.methods.lloyd import Clustering, lloyd, nearest
from vhbench.methods.two_views import View, frame_sign
from vhbench.methods.voting import ITERATIONS, Clusters, temperatures
from vhbench.training import Moment
from vhbench.videos import VideoSet

BITS = 16
COUNTS = (5, 9, 14)
NUMBERS = Numbers("autossvh")
ROWS = NUMBERS["in/batch_index"].long()
FLOAT32 = 1e-6  # faiss computes in float32
SETS = pytest.mark.parametrize("count", COUNTS)


class Squeezed:
    """The program's numbers, its learnt positions without their axis of length 1."""

    def __getitem__(self, key: str) -> torch.Tensor:
        return NUMBERS[key][0] if key == "state/pos_embed" else NUMBERS[key]


def views() -> tuple[View, View]:
    masks = NUMBERS["in/mask"].unbind(1)
    return tuple(View(*(side.nonzero()[:, 1].view(len(mask), -1) for side in (~mask, mask))) for mask in masks)


@pytest.fixture
def network(monkeypatch):
    """The method, its network with the program's weights and clusters, their names there; it draws what that drew."""
    method = AutoSSVH(
        BITS,
        warmup_epochs=0,
        mask_ratio=0.5,
        contrastive_weight=1.0,
        voting_weight=0.2,
        clusters="5,9,14",
        blocks=1,
        heads=3,
        width=32,
        decoder_blocks=1,
        decoder_heads=2,
        decoder_width=24,
    )
    module = method.build(25, 48)
    names = {**released_names(module), "decoder.positions": "pos_embed"}
    copy_state(module.double(), Squeezed(), names)
    module.encoder.positions.copy_(NUMBERS["in/pos_embed_encoder"])
    module.clusterings = torch.nn.ModuleList(Clusters(70, count, BITS) for count in COUNTS).double()
    for clusters in module.clusterings:
        take_theirs(clusters)
    drawn = [NUMBERS[f"in/negatives/view{view}/set{number}"].long() for view in (1, 2) for number in range(3)]
    monkeypatch.setattr(Clusters, "others", lambda _, times, size: torch.zeros_like(times).scatter(0, drawn.pop(0), 1))
    monkeypatch.setattr(conmh, "two_views", lambda *_: views())
    return method, module, names


def take_theirs(clusters: Clusters) -> None:
    folder = f"out/kmeans{len(clusters.centres)}/"
    clusters.centres.copy_(NUMBERS[folder + "centroids_normalised"])
    clusters.temperatures.copy_(NUMBERS[folder + "density"])
    clusters.labels.copy_(NUMBERS[folder + "im2cluster"])


def batch() -> torch.Tensor:
    return NUMBERS["in/x_all"][ROWS]


def moment() -> Moment:
    return Moment(0, 1, ROWS)


def test_each_stage_of_each_view(network):
    _, module, _ = network
    both = stacked(views())
    tokens = both.seen(module.embed(batch()).repeat(2, 1, 1))
    logits = module.logits(tokens)
    codes = frame_sign(logits)
    ours = {
        "encoder": module.encoder(tokens),
        "hash_logits": logits,
        "codes": codes,
        "mean_code": codes.mean(1),
        "reconstruction": module.decoder.read_out(module.decode(codes, both)),
    }
    for number in (1, 2):
        assert set(NUMBERS.names(f"out/view{number}/")) == set(ours)
        for name, value in ours.items():
            assert_close(value.chunk(2)[number - 1], NUMBERS[f"out/view{number}/{name}"], what=name)


def test_loss_terms_and_all_gradients(network):
    method, module, names = network
    terms = method.loss(module, batch(), moment())
    loss = sum(terms.values())
    loss.backward()
    assert_close(terms["recon"], NUMBERS["out/loss_rec"])
    assert_close(terms["contrastive"], NUMBERS["out/loss_dcl"])
    assert_close(terms["voting"], 0.2 * NUMBERS["out/loss_cvh"])
    assert_close(loss, NUMBERS["out/loss_total"])
    assert set(NUMBERS.names("grad/total/")) == set(names.values())
    for name, parameter in module.named_parameters():
        theirs = NUMBERS[f"grad/total/{names[name]}"].view_as(parameter)
        assert_close(parameter.grad, theirs, what=name)


def test_the_voting_loss_of_each_view_and_its_gradient(network):
    _, module, _ = network
    for number in (1, 2):
        code = NUMBERS[f"out/view{number}/mean_code"].requires_grad_()
        view = torch.nn.functional.normalize(code, dim=1)
        loss = torch.stack([clusters(view, ROWS) for clusters in module.clusterings]).mean()
        loss.backward()
        assert_close(loss, NUMBERS[f"out/p2set/view{number}_loss"])
        assert_close(code.grad, NUMBERS[f"grad/p2set/view{number}_mean_code"])


def test_what_is_clustered(network):
    method, module, _ = network
    points = method.mean_codes(module.float(), VideoSet(NUMBERS["in/x_all"].numpy()), Moment(0, 1))
    assert_close(points, NUMBERS["out/features_normalised_mean_code"], FLOAT32)


@SETS
def test_faisss_clusters_are_a_fixed_point_of_ours(count):
    points, folder = NUMBERS["out/features_normalised_mean_code"], f"out/kmeans{count}/"
    centres, labels = NUMBERS[folder + "centroids_raw"], NUMBERS[folder + "im2cluster"]
    found = lloyd(points, centres, ITERATIONS)
    assert torch.equal(nearest(points, centres)[0], labels) and torch.equal(found.labels, labels)
    assert_close(found.centres, centres, FLOAT32)
    assert_close(found.squared, NUMBERS[folder + "squared_distance"], FLOAT32)


@SETS
def test_temperatures_and_centres_of_clusters(count):
    folder = f"out/kmeans{count}/"
    raw, labels, squared, density, normalised = (
        NUMBERS[folder + name]
        for name in ("centroids_raw", "im2cluster", "squared_distance", "density", "centroids_normalised")
    )
    assert_close(temperatures(labels, squared, count), density, FLOAT32)
    clusters = Clusters(len(labels), count, BITS).double()
    clusters.take(Clustering(raw, labels, squared))
    assert_close(clusters.centres, normalised, FLOAT32)
    assert_close(clusters.temperatures, density, FLOAT32)
    assert torch.equal(clusters.labels, labels)


def test_the_sampler_and_its_gradients():
    sampler = FrameSampler(32).double()
    layers = {"mlp.0": "importance_score.0", "mlp.2": "importance_score.2", "norm": "norm", "score": "transf.0"}
    names = {f"{ours}.{leaf}": f"{theirs}.{leaf}" for ours, theirs in layers.items() for leaf in ("weight", "bias")}
    copy_state(sampler, NUMBERS, {ours: f"encoder.sample_net.importance_score.{name}" for ours, name in names.items()})
    x, uniform, normal = (NUMBERS[f"in/sampler/{name}"] for name in ("x", "uniform", "normal"))
    assert_close(sampler.scores(x), NUMBERS["out/sampler/scores"])
    view, seen = sampler.choose(x.requires_grad_(), 12, uniform, normal)
    assert torch.equal(view.visible, NUMBERS["out/sampler/selected_indices"])
    assert_close(seen, NUMBERS["out/sampler/selected"])
    seen.backward(NUMBERS["in/sampler/upstream"])
    assert_close(x.grad, NUMBERS["grad/sampler/x"])
    for name, parameter in sampler.named_parameters():
        assert_close(parameter.grad, NUMBERS[f"grad/sampler/importance_score.{names[name]}"], what=name)
