import pytest
import torch
import torch.nn.functional as F

from genesis import loss


@pytest.mark.parametrize("softcap", [15.0, None])
@pytest.mark.parametrize("rows", [7, 1000])
def test_loss_and_gradients_equal_the_plain_computation(softcap, rows, monkeypatch):
    monkeypatch.setattr(loss, "_rows", lambda weight: rows)
    torch.manual_seed(0)
    hidden_BTC = torch.randn(3, 11, 16, requires_grad=True)
    head = torch.nn.Linear(16, 50, bias=False)
    targets_BT = torch.randint(0, 50, (3, 11))
    targets_BT[0, :4] = loss.IGNORE

    def plain():
        logits = head(hidden_BTC)
        logits = softcap * torch.tanh(logits / softcap) if softcap else logits
        return F.cross_entropy(logits.view(-1, 50), targets_BT.view(-1), ignore_index=loss.IGNORE, reduction="sum")

    expected = plain()
    wanted = torch.autograd.grad(expected, [hidden_BTC, head.weight])
    ours = loss.summed_loss(hidden_BTC, head, targets_BT, softcap)
    found = torch.autograd.grad(ours, [hidden_BTC, head.weight])
    torch.testing.assert_close(ours, expected)
    for got, want in zip(found, wanted, strict=True):
        torch.testing.assert_close(got, want, atol=1e-5, rtol=1e-5)
    each_BT = loss.token_losses(hidden_BTC, head, targets_BT, softcap)
    torch.testing.assert_close(each_BT.sum(), expected)
    assert (each_BT[0, :4] == 0).all()


def test_under_autocast_the_products_are_in_its_type_and_the_sums_in_float32():
    torch.manual_seed(0)
    hidden_BTC = torch.randn(2, 600, 16, requires_grad=True)
    head = torch.nn.Linear(16, 50, bias=False)
    targets_BT = torch.randint(0, 50, (2, 600))
    exact = loss.summed_loss(hidden_BTC, head, targets_BT, 15.0)
    wanted = torch.autograd.grad(exact, [hidden_BTC, head.weight])
    with torch.autocast("cpu", torch.bfloat16):
        rough = loss.summed_loss(hidden_BTC, head, targets_BT, 15.0)
    found = torch.autograd.grad(rough, [hidden_BTC, head.weight])
    assert rough.dtype == found[1].dtype == torch.float32
    assert 0 < abs(rough - exact) < 1e-3 * exact
    for got, want in zip(found, wanted, strict=True):
        assert (got - want).norm() < 0.02 * want.norm()


def test_logits_are_never_whole_in_memory(monkeypatch):
    largest = 0
    real = loss._Room.logits

    def watched(room, head_VC, hidden_RC):
        nonlocal largest
        largest = max(largest, room.logits_flat.numel())
        return real(room, head_VC, hidden_RC)

    monkeypatch.setattr(loss._Room, "logits", watched)
    head = torch.nn.Linear(8, 100_000, bias=False)
    loss.summed_loss(torch.randn(8, 128, 8, requires_grad=True), head, torch.zeros(8, 128, dtype=torch.long), 15.0)
    assert 0 < largest < 8 * 128 * 100_000 / 4
