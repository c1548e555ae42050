"""Views, signs and the contrastive loss against the numbers of ConMH's program (README.md), in float64."""

import pytest
import torch
from reading import Numbers, assert_close

from vhbench.methods.two_views import debiased_contrastive, frame_sign, video_code, views_of

NUMBERS = Numbers("conmh")


@pytest.mark.parametrize("name", ["conmh", "bth", "dkph", "wsch", "autossvh"])
def test_the_sign_and_its_gradient_on_special_points(name):
    numbers = Numbers(name)
    x = numbers["in/ste_x"].requires_grad_()
    y = frame_sign(x)
    y.backward(numbers["in/ste_upstream"].double())
    assert torch.equal(y, numbers["out/ste_y"])
    assert torch.equal(x.grad, numbers["grad/ste_x"])


@pytest.mark.parametrize(("case", "ratio"), [("p75", 0.75), ("p50", 0.5)])
def test_views_of_the_same_orders_hide_the_same_frames(case, ratio):
    views = views_of(NUMBERS[f"in/{case}/perm"].long(), ratio)
    for number, view in enumerate(views):
        masked = NUMBERS[f"in/{case}/mask"][:, number]
        assert torch.equal(view.hidden, masked.nonzero()[:, 1].view_as(view.hidden))
        assert torch.equal(view.visible, (~masked).nonzero()[:, 1].view_as(view.visible))


@pytest.mark.parametrize(("temperature", "tau"), [(0.5, 0.1), (0.5, 0.05), (0.2, 0.3)])
def test_the_contrastive_loss_its_floor_and_its_gradients(temperature, tau):
    u, v = (NUMBERS[f"in/dcl_{name}"].requires_grad_() for name in "uv")
    loss = debiased_contrastive(u, v, temperature, tau)
    loss.backward()
    case = f"T{temperature}_tau{tau}"
    assert_close(loss, NUMBERS[f"out/dcl_{case}"])
    for name, ours in (("u", u), ("v", v)):
        assert_close(ours.grad, NUMBERS[f"grad/dcl_{name}_{case}"])


def test_a_tied_vote_is_plus_one():
    codes = torch.tensor([[[1.0, -1, 1], [-1, -1, 1]]])
    assert video_code(codes).tolist() == [[True, False, True]]
