import torch

from genesis.nanochat.optim import Muon, build_optimizers, orthogonalise


def test_float32_steps_follow_torchs_muon():
    torch.manual_seed(0)
    shapes = [(16, 16), (16, 16), (64, 16), (16, 64)]
    ours = [torch.nn.Parameter(torch.randn(shape)) for shape in shapes]
    theirs = [torch.nn.Parameter(p.detach().clone()) for p in ours]
    mine, reference = Muon(ours, lr=0.02, weight_decay=0.1), torch.optim.Muon(theirs, lr=0.02, weight_decay=0.1)
    for _ in range(5):
        for a, b in zip(ours, theirs, strict=True):
            a.grad = torch.randn_like(a)
            b.grad = a.grad.clone()
        mine.step()
        reference.step()
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, atol=5e-3, rtol=0)  # torch iterates in bfloat16


def test_updates_are_nearly_orthogonal_whatever_the_shape():
    torch.manual_seed(0)
    for shape in [(3, 20, 20), (2, 50, 10), (2, 10, 50)]:
        singular = torch.linalg.svdvals(orthogonalise(torch.randn(shape), 5))
        assert singular.min() > 0.3 and singular.max() < 1.4


def test_every_parameter_has_exactly_one_optimizer(tiny_model):
    optimizers = build_optimizers(tiny_model, 0.02, 0.2, 0.004, 0.0)
    held = [p for optimizer in optimizers for group in optimizer.param_groups for p in group["params"]]
    assert len(held) == len({id(p) for p in held}) == len(list(tiny_model.parameters()))
    matrices = {id(p) for group in optimizers[1].param_groups for p in group["params"]}
    assert id(tiny_model.lm_head.weight) not in matrices
    assert id(tiny_model.model.embed_tokens.weight) not in matrices
