"""SSTH and SSVH against numbers of the authors' programs (README.md): outputs, loss terms and gradients in float64."""

from pathlib import Path

import numpy as np
import pytest
import scipy.sparse
import torch

from vhbench.methods import recurrent
from vhbench.methods.recurrent import PeepholeLSTM
from vhbench.methods.ssth import SSTH
from vhbench.methods.ssvh import SSVH, PairwiseLoss
from vhbench.training import Moment

GATES = ("ingate", "forgetgate", "outgate", "cell")
RELEASED_EPS = 1e-10
BITS = 16
TOLERANCE = 1e-8  # of an array's greatest value: ours has one epsilon where the programs have two
MODES = pytest.mark.parametrize("mode", ["train", "eval"])


@pytest.fixture(autouse=True)
def released_eps(monkeypatch):
    monkeypatch.setattr(recurrent, "BN_EPS", RELEASED_EPS)


def read(name: str) -> dict[str, np.ndarray]:
    with np.load(Path(__file__).parent / f"{name}.npz", allow_pickle=False) as file:
        return {key: file[key] for key in file}


def tensor(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(array)


def rows_of(gates: list[np.ndarray]) -> torch.Tensor:
    """Put matrices (inputs, outputs) or vectors, one a gate, below each other as torch has them."""
    return tensor(np.concatenate([gate.T for gate in gates]))


@torch.no_grad()
def copy_cell(cell: PeepholeLSTM, data: dict[str, np.ndarray], part: str) -> None:
    """Give a cell the program's weights and running statistics."""
    state = {key.removeprefix(f"state/{part}/"): value for key, value in data.items() if f"state/{part}/" in key}
    if cell.weight_ih is not None:
        cell.weight_ih.copy_(rows_of([state[f"W_in_to_{gate}"] for gate in GATES]))
    cell.weight_hh.copy_(rows_of([state[f"W_hid_to_{gate}"] for gate in GATES]))
    cell.bias.copy_(rows_of([state[f"b_{gate}"] for gate in GATES]))
    cell.peepholes.copy_(tensor(np.stack([state[f"W_cell_to_{gate}"] for gate in GATES[:3]])))
    cell.gamma.copy_(tensor(state["bn_gamma"]))
    cell.beta.copy_(tensor(state["bn_beta"]))
    cell.running_mean.copy_(tensor(state["bn_running_mean"]))
    cell.running_var.copy_(tensor(state["bn_running_std"] ** 2))


@torch.no_grad()
def copy_read_out(layer: torch.nn.Linear, data: dict[str, np.ndarray], part: str) -> None:
    layer.weight.copy_(tensor(data[f"state/{part}/W_output"].T))
    layer.bias.copy_(tensor(data[f"state/{part}/b_output"]))


def gate_rows(gradient: torch.Tensor, gate: str) -> np.ndarray:
    """Return one gate's share of a stacked weight's or bias's gradient, in the program's layout."""
    rows: np.ndarray = gradient.chunk(4)[GATES.index(gate)].t().numpy()
    return rows


def assert_same(ours: dict[str, torch.Tensor | np.ndarray], data: dict[str, np.ndarray], prefix: str) -> None:
    """Compare each array with the one of its name, and leave none of the file's out."""
    assert {prefix + name for name in ours} == {key for key in data if key.startswith(prefix)}
    for name, value in ours.items():
        official = data[prefix + name]
        array = value.detach().numpy() if isinstance(value, torch.Tensor) else value
        assert array.shape == official.shape, name
        assert np.abs(array - official).max() <= TOLERANCE * np.abs(official).max(), name


# SSTH


@pytest.fixture
def ssth():
    """The method as released, its network with the program's weights, and the file's arrays."""
    data = read("ssth")
    _, frames, dim = data["in/x"].shape
    method = SSTH(BITS, leak_cell=True)
    module = method.build(frames, dim).double()
    copy_cell(module.encoder, data, "encoder")
    for part, decoder in (("reverse", module.rewind), ("forward", module.play), ("mean", module.mean)):
        copy_cell(decoder.lstm, data, part)
        copy_read_out(decoder.read_out, data, part)
    return method, module, data


@MODES
def test_ssth_computes_what_the_authors_program_does(ssth, mode):
    method, module, data = ssth
    module.train(mode == "train")
    x = tensor(data["in/x"])
    hidden, cell = module.encoder(x)
    code = torch.where(hidden[:, -1] >= 0, 1.0, -1.0).double()
    frames = {
        name: decoder.read_out(decoder(code, cell))
        for name, decoder in (("reverse", module.rewind), ("forward", module.play), ("mean", module.mean))
    }
    ours = {"hidden": hidden, "code": code, "cell": cell, **frames, "mean": frames["mean"][:, 0]}

    copy_cell(module.encoder, data, "encoder")  # a step in training mode moves the running statistics
    terms = method.loss(module, x, Moment(0, 1))
    summed = len(x) * x.shape[1]  # the program's loss is a sum over videos and frames, ours is a mean
    for name, term in terms.items():
        ours[f"loss_{name}"] = 3 * summed * term
    ours["loss"] = summed * torch.stack(list(terms.values())).sum()
    assert_same(ours, data, f"out/{mode}/")


def test_ssths_gradients_are_the_authors_programs(ssth):
    method, module, data = ssth
    x = tensor(data["in/x"])
    (len(x) * x.shape[1] * sum(method.loss(module, x, Moment(0, 1)).values())).backward()
    encoder = module.encoder
    ours = {
        "W_in_to_ingate": gate_rows(encoder.weight_ih.grad, "ingate"),
        "W_hid_to_cell": gate_rows(encoder.weight_hh.grad, "cell"),
        "b_forgetgate": gate_rows(encoder.bias.grad, "forgetgate"),
        "W_cell_to_outgate": encoder.peepholes.grad[2],
        "dec_reverse_W_output": module.rewind.read_out.weight.grad.T,
        "dec_forward_W_hid_to_outgate": gate_rows(module.play.lstm.weight_hh.grad, "outgate"),
        "gamma_0": encoder.gamma.grad[0],
    }
    assert_same(ours, data, "grad/")


# SSVH


@pytest.fixture
def ssvh():
    """The method as released, its network with the program's weights, bank and neighbourhood, and the file's arrays."""
    data = read("ssvh")
    _, frames, dim = data["in/x"].shape
    method = SSVH(BITS, leak_cell=True, crossed_decoders=True)
    module = method.build(frames, dim).double()
    copy_cell(module.lower, data, "lower")
    copy_cell(module.upper, data, "upper")
    for part in ("reverse", "ahead", "mean"):
        decoder = getattr(module, part)
        copy_cell(decoder.upper, data, f"{part}_upper")
        copy_cell(decoder.lower, data, f"{part}_lower")
        copy_read_out(decoder.read_out, data, f"{part}_lower")
    module.pairs = PairwiseLoss(scipy.sparse.csr_array(data["in/similar"]), BITS).double()
    module.pairs.bank.copy_(tensor(data["in/bank"]))
    module.pairs.recount()
    return method, module, data


@MODES
def test_ssvh_computes_what_the_authors_program_does(ssvh, mode):
    method, module, data = ssvh
    module.train(mode == "train")
    x, rows = tensor(data["in/x"]), tensor(data["in/rows"])
    hidden, cell = module.encode(x)
    ahead, reverse, mean = module.decode(hidden, cell)
    ours = {
        "hidden": hidden,
        "cell": cell,
        "ahead": module.ahead.read_out(ahead),
        "reverse": module.reverse.read_out(reverse),
        "mean": module.mean.read_out(mean[:, 0]),
    }
    errors = {
        "ahead": (x - ours["ahead"]).square().sum(),
        "reverse": (x.flip(1) - ours["reverse"]).square().sum(),
        "mean": x.shape[1] * (x.mean(1) - ours["mean"]).square().sum(),
    }
    ours |= {f"loss_{name}": error for name, error in errors.items()}

    copy_cell(module.lower, data, "lower")  # a step in training mode moves the running statistics
    copy_cell(module.upper, data, "upper")
    terms = {name: len(x) * term for name, term in method.loss(module, x, Moment(0, 1, rows)).items()}
    pairwise = method.pairwise_weight
    assert terms["recon"].item() == pytest.approx((1 - pairwise) / 3 * sum(errors.values()).item(), rel=1e-9)
    ours["loss_pairwise"] = terms["pairwise"] / pairwise
    ours["loss_quantization"] = terms["quantization"] / pairwise
    ours["loss"] = torch.stack(list(terms.values())).sum()
    assert_same(ours, data, f"out/{mode}/")


def test_ssvhs_gradients_are_the_authors_programs(ssvh):
    method, module, data = ssvh
    x, rows = tensor(data["in/x"]), tensor(data["in/rows"])
    (len(x) * sum(method.loss(module, x, Moment(0, 1, rows)).values())).backward()
    ours = {
        "lower/W_in_to_ingate": gate_rows(module.lower.weight_ih.grad, "ingate"),
        "upper/W_hid_to_cell": gate_rows(module.upper.weight_hh.grad, "cell"),
        "reverse_upper/W_hid_to_outgate": gate_rows(module.reverse.upper.weight_hh.grad, "outgate"),
        "ahead_lower/W_in_to_forgetgate": gate_rows(module.ahead.lower.weight_ih.grad, "forgetgate"),
        "mean_lower/W_output": module.mean.read_out.weight.grad.T,
    }
    assert_same(ours, data, "grad/")
