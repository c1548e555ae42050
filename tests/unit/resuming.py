"""A training that is killed and resumed, beside an undisturbed one."""

from dataclasses import replace

import pytest
import torch

from vhbench.checkpoint import Checkpoint
from vhbench.method import FitContext


class Killed(BaseException):
    """Stands for the end of the process."""


def tensors(method):
    """Parameters and buffers of the network by name, those that a saved method leaves out too."""
    return dict([*method.module_.named_parameters(), *method.module_.named_buffers()])


def assert_resumes(make, train, folder, killed):
    """Kill a training after `killed` whole epochs; resumed, it has each loss and tensor of an undisturbed one.

    Returns:
        The tensors by name.
    """

    def kill(epoch):
        if epoch.number == killed + 1:
            raise Killed

    losses, again = {}, {}
    whole = make().fit(train, FitContext(seed=3, report=lambda epoch: losses.update({epoch.number: epoch.parts})))
    ctx = FitContext(seed=3, checkpoint=Checkpoint(folder, "key", every=0), report=kill)
    with pytest.raises(Killed):
        make().fit(train, ctx)
    assert ctx.checkpoint.load()["epoch"] == killed
    resumed = make().fit(train, replace(ctx, report=lambda epoch: again.update({epoch.number: epoch.parts})))
    assert again == {number: parts for number, parts in losses.items() if number > killed}
    one, two = tensors(whole), tensors(resumed)
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in one)
    return one
