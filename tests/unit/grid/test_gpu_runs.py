"""Runs on a simulated GPU: where they compute, in which precision, and what their records say of it."""

import json

import h5py
import numpy as np
import pytest
import torch

from vhbench import load, run
from vhbench.errors import UsageError
from vhbench.features.placement import release
from vhbench.methods.bl1 import BL1
from vhbench.runs.store import Store
from vhbench.runs.stored_codes import read_codes
from vhbench.testing.simulated_gpu import simulated_gpus, unavailable

if reason := unavailable():
    pytest.skip(reason, allow_module_level=True)

SEES = '''
import os
import torch
from vhbench.testing.fakes import FakeMethod

def settings():
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    own = [getattr(kind, "fp32_precision", None) for kind in (matmul, getattr(cudnn, "rnn", None))]
    return [matmul.allow_tf32, cudnn.allow_tf32, *own, torch.are_deterministic_algorithms_enabled()]

class Sees(FakeMethod):
    """Prints torch's settings while it trains and encodes."""

    name = "sees"

    def fit(self, train, ctx):
        print("fit", ctx.precision, settings())
        return super().fit(train, ctx)

    def encode(self, videos):
        print("encode", settings(), os.environ.get("CUBLAS_WORKSPACE_CONFIG"))
        return super().encode(videos)
'''


@pytest.fixture(autouse=True)
def free_memory():
    yield
    release()


def records(out):
    return [json.loads(path.read_text()) for path in sorted(out.rglob("run.json"))]


@pytest.fixture
def seen(tmp_path, tiny, out, capsys, monkeypatch):
    """Run a method that prints torch's settings; returns a line for its training, and one for each encoding."""
    path = tmp_path / "sees.py"
    path.write_text(SEES)
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)

    def go(**options):
        with simulated_gpus():
            table = run("sees", tiny, bits=8, device="cuda:0", out=out, plugins=[path], **options)
        assert table["status"].tolist() == ["done"], table["reason"].tolist()
        return capsys.readouterr().out.splitlines()

    return go


def test_a_run_on_the_second_gpu_uses_no_other_and_says_what_it_took(tiny, out):
    with simulated_gpus(2, memory=[0, 2**30]):  # the first has room for nothing
        table = run("ssth", tiny, bits=8, epochs=1, device="cuda:1", out=out)
    assert table["status"].tolist() == ["done"]
    (record,) = records(out)
    assert record["environment"]["device"] == "cuda:1"
    assert record["environment"]["features"] == "on the GPU (0.0 MB)"
    assert record["environment"]["gpu"].startswith("Simulated GPU")
    assert 0.01 < record["memory"]["peak_gpu_mb"] < 10


def test_cuda_without_a_number_is_the_runs_own_gpu(tiny, out, monkeypatch):
    found = []

    class Watched(BL1):
        def start_epoch(self, module, train, moment):
            found.append(str(torch.zeros(1, device="cuda").device))

    monkeypatch.setattr("vhbench.methods.bl1.BL1", Watched)
    with simulated_gpus(2):
        run("bl1", tiny, bits=8, epochs=1, device="cuda:1", out=out)
        assert torch.cuda.current_device() == 0
    assert found == ["cuda:1"]


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_float32_is_float32_in_products_and_recurrent_layers_of_a_gpu(seen, precision):
    fit, *encodings = seen(precision=precision)
    assert fit.startswith(f"fit {precision} [False, False, ")
    assert len(encodings) == 2
    assert not any("tf32" in line or "True" in line for line in (fit, *encodings))


def test_tf32_is_a_choice_of_its_own_for_training_and_recorded(tiny, out, monkeypatch):
    kinds = torch.backends.cuda.matmul, torch.backends.cudnn
    seen = []

    class Watched(BL1):
        def loss(self, module, videos, moment):
            if moment.ctx.device == "cuda:0":  # and not where its memory is looked at before
                seen.append([moment.ctx.precision, *(kind.allow_tf32 for kind in kinds)])
            return super().loss(module, videos, moment)

        def codes(self, module, videos):
            seen.append([kind.allow_tf32 for kind in kinds])
            return super().codes(module, videos)

    monkeypatch.setattr("vhbench.methods.bl1.BL1", Watched)
    before = [kind.allow_tf32 for kind in kinds]
    with simulated_gpus():
        run("bl1", tiny, bits=8, epochs=1, precision="tf32", device="cuda:0", out=out)
    assert seen == [["tf32", True, True], [False, False], [False, False]]
    assert [kind.allow_tf32 for kind in kinds] == before
    assert records(out)[0]["spec"]["precision"] == "tf32"


def test_tf32_on_a_cpu_is_skipped_with_the_reason(tiny, out):
    table = run("bl1", tiny, bits=8, epochs=1, precision="tf32", device="cpu", out=out)
    assert table[["status", "reason"]].values.tolist() == [
        ["skipped", "bl1 can be trained in tf32 on a GPU only; this run is on 'cpu'."]
    ]


def test_deterministic_holds_for_encoding_cublas_is_set_up_and_torch_is_as_before(seen):
    assert not torch.are_deterministic_algorithms_enabled()
    fit, *encodings = seen(deterministic=True)
    assert fit.endswith(", True]")
    assert len(encodings) == 2 and all(line.endswith(", True] :4096:8") for line in encodings)
    assert not torch.are_deterministic_algorithms_enabled()


@pytest.mark.parametrize("device", ["cpu", "cuda:0"])
def test_half_precision_of_the_features_is_asked_for_and_recorded(device, tiny, out):
    def log(precision):
        with simulated_gpus():
            run("bl1", tiny, bits=8, epochs=2, precision=precision, device=device, out=out / precision)
        (record,) = records(out / precision)
        assert (record["status"], record["spec"]["precision"]) == ("done", precision)
        return [json.loads(line)["loss"] for line in next(out.rglob(f"{precision}/**/train.jsonl")).open()]

    exact, rounded = log("float32"), log("float32+half")
    assert exact != rounded and exact == pytest.approx(rounded, rel=1e-3)


def test_an_unknown_precision_suggests_the_nearest(tiny, out):
    with pytest.raises(UsageError, match=r"Unknown precision 'bf16\+hlf': did you mean 'bf16\+half'"):
        run("bl1", tiny, bits=8, precision="bf16+hlf", out=out)


def test_a_model_of_a_gpu_encodes_on_a_cpu(tiny, out):
    with simulated_gpus():
        table = run("bl1", tiny, bits=8, epochs=1, device="cuda:0", out=out, keep_model=True)
    model = load(table["folder"][0])
    assert {parameter.device.type for parameter in model.fitted.module_.parameters()} == {"cpu"}
    with h5py.File(tiny.parent / "tiny_train_feats.h5") as file:
        codes = model.encode(file["feats"][:])
    [record], _ = Store(out).records()
    assert np.array_equal(codes, read_codes(record)["tiny/database"])
