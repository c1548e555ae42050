"""Mamba against the numbers of a sequential scan (README.md), in float64."""

from reading import Numbers, assert_close, copy_state

from vhbench.methods.mamba import Mamba

NUMBERS = Numbers("s5vh")
MAMBA = {
    "a_log": "A_log",
    "d": "D",
    "in_proj.weight": "in_proj.weight",
    "conv.weight": "conv1d.weight",
    "conv.bias": "conv1d.bias",
    "x_proj.weight": "x_proj.weight",
    "dt_proj.weight": "dt_proj.weight",
    "dt_proj.bias": "dt_proj.bias",
    "out_proj.weight": "out_proj.weight",
}


def test_mamba_alone():
    mamba = Mamba(32).double()
    copy_state(mamba, NUMBERS, {ours: f"encoder.blocks.0.mamba1.{theirs}" for ours, theirs in MAMBA.items()})
    assert_close(mamba(NUMBERS["in/mamba_x"]), NUMBERS["out/mamba_y"])
