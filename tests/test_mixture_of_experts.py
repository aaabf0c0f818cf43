"""The mixture of experts: against its naive twin, and its router and its loss against the peer library's."""

from typing import Any

import pytest
import torch
from helpers import fresh_model, latent_mixture_config, random_ids, small_model
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from transformers import DeepseekV2Config, DeepseekV3Config, GptOssConfig, MixtralConfig
from transformers.models.deepseek_v2.modeling_deepseek_v2 import DeepseekV2TopkRouter
from transformers.models.deepseek_v3.modeling_deepseek_v3 import DeepseekV3TopkRouter
from transformers.models.gpt_oss.modeling_gpt_oss import GptOssTopKRouter
from transformers.models.mixtral.modeling_mixtral import MixtralTopKRouter, load_balancing_loss_func

from llmref.config import FeedForwardConfig, MixtureConfig, RouterConfig
from llmref.mixture_of_experts import MixtureOfExperts, Router, balancing_loss, choose, naive_mixture
from llmref.trace import Cut, trace

ROUTERS = {
    "softmax": RouterConfig(),
    "softmax, as it is": RouterConfig(normalize=False, multiplier=1.5, bias=True),
    "sigmoid": RouterConfig("sigmoid", multiplier=2.5, choice_bias=True),
    "groups": RouterConfig(normalize=False, n_groups=3, n_active_groups=1),
    "groups, by their two best": RouterConfig("sigmoid", n_groups=2, group_score="best_two"),
}


def made(module: nn.Module, seed: int = 0) -> Any:
    """The module with large random numbers everywhere, so that no two experts are near a tie."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for tensor in (*module.parameters(), *module.buffers()):
            tensor.copy_(torch.randn(tensor.shape, generator=generator, dtype=torch.float64))
    return module


def layer_of(router: RouterConfig, *, shared: bool = True, n_active: int = 2) -> MixtureOfExperts:
    config = MixtureConfig(
        6, n_active, FeedForwardConfig(13), FeedForwardConfig(9) if shared else None, router
    )
    layer: MixtureOfExperts = made(MixtureOfExperts(config, 5)).double()
    return layer


def inputs(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("router", ROUTERS.values(), ids=ROUTERS)
def test_the_layer_is_its_naive_twin_with_its_gradients(router: RouterConfig, shared: bool) -> None:
    layer = layer_of(router, shared=shared)
    x = inputs(2, 7, 5).requires_grad_()
    found, expected = layer(x), naive_mixture(layer, x)
    torch.testing.assert_close(found, expected)
    weights = inputs(2, 7, 5, seed=2)
    wanted = [x, *layer.parameters()]
    for one, other in zip(
        torch.autograd.grad((found * weights).sum(), wanted, allow_unused=True),
        torch.autograd.grad((expected * weights).sum(), wanted, allow_unused=True),
        strict=True,
    ):
        assert (one is None) == (other is None)
        if one is not None and other is not None:
            torch.testing.assert_close(one, other)


@pytest.mark.parametrize("n_active", [1, 6])
def test_one_expert_or_all_of_them(n_active: int) -> None:
    layer, x = layer_of(RouterConfig(), n_active=n_active), inputs(2, 7, 5)
    torch.testing.assert_close(layer(x), naive_mixture(layer, x))


def test_no_token_sees_another() -> None:
    layer, x = layer_of(ROUTERS["sigmoid"]), inputs(2, 7, 5)
    torch.testing.assert_close(layer(x)[1:, 2:5], layer(x[1:, 2:5]))


def test_an_expert_that_nobody_chose_does_not_run() -> None:
    layer, x = layer_of(RouterConfig(), n_active=1), inputs(1, 1, 5)
    layer(x).sum().backward()
    _, choices = layer.router(x)
    for number, expert in enumerate(layer.experts):
        assert (expert.up.weight.grad is not None) == (number == choices.item())


# The router


@pytest.mark.parametrize("name", ["mixtral", "gpt-oss", "deepseek-v2", "deepseek-v2, greedy", "deepseek-v3"])
def test_the_router_chooses_and_weighs_as_the_peer_librarys(name: str) -> None:
    sizes: dict[str, Any] = dict(hidden_size=5, num_experts_per_tok=3)
    peer: nn.Module
    if name == "mixtral":
        peer = MixtralTopKRouter(MixtralConfig(**sizes, num_local_experts=12))
        config = RouterConfig()
    elif name == "gpt-oss":
        peer = GptOssTopKRouter(GptOssConfig(**sizes, num_local_experts=12))
        config = RouterConfig(bias=True)
    elif name.startswith("deepseek-v2"):
        method = "greedy" if "greedy" in name else "group_limited_greedy"
        peer = DeepseekV2TopkRouter(
            DeepseekV2Config(
                **{**sizes, "hidden_size": 32},
                n_routed_experts=12,
                routed_scaling_factor=16.0,
                topk_method=method,
                n_group=4,
                topk_group=2,
            )
        )
        peer.hidden_dim, peer.weight = 5, nn.Parameter(torch.zeros(12, 5))
        groups = {} if "greedy" in name.split() else dict(n_groups=4, n_active_groups=2)
        config = RouterConfig(normalize=False, multiplier=16.0, **groups)
    else:
        peer = DeepseekV3TopkRouter(
            DeepseekV3Config(**sizes, n_routed_experts=12, n_group=4, topk_group=2, norm_topk_prob=True)
        )
        config = RouterConfig(
            "sigmoid",
            multiplier=2.5,
            choice_bias=True,
            n_groups=4,
            n_active_groups=2,
            group_score="best_two",
        )
    router = Router(config, 12, 3, 5)
    weights = made(peer).state_dict()
    if "e_score_correction_bias" in weights:
        weights["choice_bias"] = weights.pop("e_score_correction_bias")
    router.load_state_dict(weights)

    x = torch.randn(200, 5, generator=torch.Generator().manual_seed(3))
    _, expected, places = peer(x)
    found, choices = router(x)
    order = places.argsort(dim=-1)
    assert torch.equal(choices.sort(dim=-1).values, places.gather(-1, order))
    torch.testing.assert_close(found.gather(-1, choices.argsort(dim=-1)), expected.gather(-1, order))


@given(st.sampled_from([*ROUTERS.values()]), st.integers(0, 9))
def test_the_weights_sum_to_what_the_config_says(router: RouterConfig, seed: int) -> None:
    made_router: Router = made(Router(router, 6, 2, 5), seed)
    weights, choices = made_router(inputs(3, 4, 5, seed=seed).float())
    assert weights.min() >= 0
    assert (choices[..., 0] != choices[..., 1]).all()
    total = weights.sum(dim=-1)
    if router.normalize:
        torch.testing.assert_close(total, torch.full((3, 4), router.multiplier))
    else:
        assert total.max() <= router.multiplier


@given(st.integers(0, 99))
def test_only_experts_of_the_best_groups_are_chosen(seed: int) -> None:
    scores = inputs(8, seed=seed)
    choices = choose(scores, 3, RouterConfig(n_groups=4, n_active_groups=2)).tolist()
    groups = sorted(range(4), key=lambda group: -max(scores[2 * group : 2 * group + 2].tolist()))[:2]
    allowed = [expert for expert in range(8) if expert // 2 in groups]
    assert choices == sorted(allowed, key=lambda expert: -scores[expert].item())[:3]


def test_groups_that_are_all_open_are_as_no_groups() -> None:
    scores = inputs(50, 8)
    grouped = choose(scores, 3, RouterConfig(n_groups=4, n_active_groups=4))
    assert torch.equal(grouped, choose(scores, 3, RouterConfig()))


def test_a_choice_bias_moves_the_choice_and_not_the_weight() -> None:
    router = Router(RouterConfig("sigmoid", normalize=False, choice_bias=True), 4, 1, 5)
    x = torch.randn(9, 5)
    assert router.choice_bias is not None
    router.choice_bias[2] = 10.0
    weights, choices = router(x)
    assert (choices == 2).all()
    torch.testing.assert_close(weights[:, 0], (x @ router.weight[2]).sigmoid())
    weights.sum().backward()
    assert router.weight.grad is not None


def test_scores_far_below_zero_still_give_weights() -> None:
    router = Router(RouterConfig("sigmoid"), 4, 2, 5)
    with torch.no_grad():
        router.weight.fill_(-100.0)
    weights, _ = router(torch.ones(1, 5))
    assert weights.isfinite().all()


def test_in_half_precision_the_router_stays_in_float32() -> None:
    router = made(Router(RouterConfig("sigmoid", choice_bias=True), 4, 2, 5))
    before = router.choice_bias.clone()
    half = router.bfloat16()
    weights, _ = half(torch.randn(3, 5, dtype=torch.bfloat16))
    assert weights.dtype == torch.float32
    assert half.weight.dtype == torch.bfloat16
    assert torch.equal(half.choice_bias, before)
    assert half.to("meta").choice_bias.is_meta
    assert half.to_empty(device="cpu").choice_bias.dtype == torch.float32


def test_under_autocast_the_router_stays_in_float32() -> None:
    torch.manual_seed(0)
    router = Router(RouterConfig(), n_experts=8, n_active=2, d_model=16)
    x = torch.randn(1, 50, 16)
    weights, choices = router(x)
    with torch.autocast("cpu", torch.bfloat16):
        again, same = router(x)
    assert torch.equal(again, weights) and torch.equal(same, choices)


def test_a_choice_bias_is_kept_and_not_trained() -> None:
    router = Router(RouterConfig(choice_bias=True), 4, 2, 5)
    assert "choice_bias" in router.state_dict()
    assert [name for name, _ in router.named_parameters()] == ["weight"]


# The loss


@pytest.mark.parametrize("n_active", [1, 2, 3])
def test_the_balancing_loss_is_the_peer_librarys(n_active: int) -> None:
    logits = inputs(40, 6).float().requires_grad_()
    probabilities = logits.softmax(dim=-1)
    choices = choose(probabilities, n_active, RouterConfig())
    found = balancing_loss(probabilities.unflatten(0, (5, 8)), choices.unflatten(0, (5, 8)))
    expected = load_balancing_loss_func((logits,), num_experts=6, top_k=n_active)
    assert isinstance(expected, Tensor)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(torch.autograd.grad(found, logits), torch.autograd.grad(expected, logits))


def test_the_balancing_loss_is_least_where_all_experts_get_as_many_tokens() -> None:
    even = torch.arange(6).repeat(4).reshape(12, 2)
    probabilities = inputs(12, 6).softmax(dim=-1)
    assert balancing_loss(probabilities, even).item() == pytest.approx(2)
    all_to_one = torch.zeros(12, 1, dtype=torch.long)
    certain = nn.functional.one_hot(all_to_one[:, 0], 6).double()
    assert balancing_loss(certain, all_to_one).item() == pytest.approx(6)


def test_the_balancing_loss_evens_the_experts_out() -> None:
    torch.manual_seed(0)
    router, x = Router(RouterConfig(), 6, 1, 5), torch.rand(200, 5)
    scores: list[Tensor] = []
    router.sites["scores"].register_forward_hook(lambda module, inputs, output: scores.append(output))

    def busiest() -> int:
        return int(router(x)[1].flatten().bincount(minlength=6).max())

    before, optimizer = busiest(), torch.optim.SGD(router.parameters(), lr=1.0)
    for _ in range(50):
        _, choices = router(x)
        optimizer.zero_grad()
        balancing_loss(scores[-1], choices).backward()
        optimizer.step()
    assert busiest() < before / 2


# In a model


def test_a_trace_shows_which_experts_were_chosen() -> None:
    model, ids = small_model(latent_mixture_config()), random_ids(2, 7)
    seen = trace(model, ids)
    name = "blocks.1.feedforward"
    scores, choices = seen[f"{name}.router.scores"], seen[f"{name}.router.choices"]
    assert scores.shape == (2, 7, 6) and choices.shape == (2, 7, 2)
    taken = scores.gather(-1, choices)
    expected = 2.5 * taken / taken.sum(dim=-1, keepdim=True)
    torch.testing.assert_close(seen[f"{name}.router.weights"], expected)
    for expert in range(6):
        tokens = int((choices == expert).sum())
        assert (f"{name}.experts.{expert}.output" in seen) == (tokens > 0)
        if tokens:
            assert seen[f"{name}.experts.{expert}.hidden"].shape == (tokens, 13)
    torch.testing.assert_close(
        seen["blocks.1.middle"] + seen[f"{name}.output"], seen["blocks.1.output"], rtol=0, atol=1e-5
    )


def test_a_mixture_can_be_cut() -> None:
    model, ids = fresh_model(latent_mixture_config()), random_ids(2, 7)
    cut = trace(model, ids, cuts=[Cut("blocks.0.feedforward")])["logits"]
    with torch.no_grad():
        for name, parameter in model.blocks[0].feedforward.named_parameters():
            if name.endswith("down.weight"):
                parameter.zero_()
    torch.testing.assert_close(cut, trace(model, ids)["logits"])


def test_fresh_experts_start_small_where_they_add_to_the_stream() -> None:
    torch.manual_seed(0)
    model = type(small_model())(latent_mixture_config())
    mixture = model.blocks[0].feedforward
    for layer, d_ff in [(mixture.shared, 9), *((expert, 13) for expert in mixture.experts)]:
        assert layer.down.weight.std().item() == pytest.approx((d_ff * 4) ** -0.5, rel=0.15)
        assert layer.up.weight.std().item() == pytest.approx(20**-0.5, rel=0.15)
