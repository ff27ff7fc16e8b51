import torch

from genesis.drawing import Draw


def test_tokens_are_drawn_as_often_as_their_probabilities_say():
    torch.manual_seed(0)
    logits_V = torch.tensor([2.0, -torch.inf, 0.0, 1.0, -3.0, -torch.inf])
    scores_BV = Draw(0.7)(None, logits_V.expand(40_000, -1))
    assert (scores_BV.isfinite().sum(1) == 1).all()
    shares_V = scores_BV.isfinite().float().mean(0)
    expected_V = (logits_V / 0.7).softmax(-1)
    assert (shares_V[~logits_V.isfinite()] == 0).all()
    assert (shares_V - expected_V).abs().max() < 0.01


def test_a_likely_first_or_last_token_is_reached_and_the_seed_decides():
    logits_BV = torch.full((2, 300), -20.0)
    logits_BV[0, 0] = logits_BV[1, -1] = 20.0
    assert Draw(1.0)(None, logits_BV).argmax(-1).tolist() == [0, 299]
    flat_BV = torch.zeros(50, 1000)
    drawn = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        drawn.append(Draw(1.0)(None, flat_BV).argmax(-1).tolist())
    assert drawn[0] == drawn[1] != drawn[2]
