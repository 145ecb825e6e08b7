"""Does the gate refuse bad policies and ship better ones? Policies planted in a shop whose truth is known."""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from pipelines.off_policy.open_bandit import report_of
from pipelines.off_policy.world import Shop, customers, draw_shop, log_rounds, softmax, true_value
from tfrec_llm import evaluation
from tfrec_llm.config import Gate, setting
from tfrec_llm.evaluation import policies
from tfrec_llm.types import SlateFeedback

GAINS = (0.05, 0.30)  # of better policies, over the incumbent's value
REPORTS = 0.25  # of an item that is clicked and regretted


@dataclass(frozen=True)
class PlantedConfig:
    """What a cell of a suite with `upto = "planted"` holds in place of a run's config."""

    seed: int = setting(1, "of shops and logs", low=0)
    rounds: int = setting(20_000, "of each log", low=100)
    better: int = setting(20, "policies whose true value is 5 to 30 % above", low=1)
    each: int = setting(4, "policies of each bad kind", low=1)
    gate: Gate = setting(Gate(), "the gate's settings")


class Case(NamedTuple):
    """A log, the policy that wrote it, and what is known of the truth."""

    shop: Shop
    context: np.ndarray  # [R, C]
    incumbent: np.ndarray  # [R, K]
    feedback: SlateFeedback
    reports: np.ndarray  # [R, 1]
    seed: int


def draw_case(rounds: int, seed: int, shop: Shop | None = None) -> Case:
    """A shop served by a policy that knows half of what there is to know."""
    shop = draw_shop(seed) if shop is None else shop
    context = customers(shop, rounds, seed)
    other = draw_shop(seed + 10_000)
    half = shop.expected(context) + other.expected(context)
    incumbent = softmax(half, 2.0, floor=0.2)
    return Case(shop, context, incumbent, *log_rounds(shop, context, incumbent, seed), seed)


def better(case: Case, gain: float) -> np.ndarray:
    """[R, K] the incumbent moved towards the best policy, so far that it is worth `gain` more."""
    value = true_value(case.shop, case.context, case.incumbent)
    best = softmax(case.shop.expected(case.context), 50.0, floor=0.05)
    most = true_value(case.shop, case.context, best)
    share = min(gain * value / (most - value), 1.0)
    return (1 - share) * case.incumbent + share * best


def improved(case: Case, number: int, gain: float) -> tuple[Case, np.ndarray]:
    """See `better`."""
    del number
    return case, better(case, gain)


def random_policy(case: Case, number: int) -> tuple[Case, np.ndarray]:
    """Every item alike."""
    del number
    return case, np.full_like(case.incumbent, 1 / case.incumbent.shape[1])


def one_item(case: Case, number: int) -> tuple[Case, np.ndarray]:
    """The same item for everybody, that few like."""
    items = case.incumbent.shape[1]
    worst = np.argsort(case.shop.expected(case.context).mean(0))[number % (items // 2)]
    return case, np.eye(items)[np.full(len(case.context), worst)]


def stale(case: Case, number: int) -> tuple[Case, np.ndarray]:
    """Very good for the tastes of a time that is over: they have turned round since, and changed besides."""
    other = draw_shop(case.seed + 20_000 + number)
    before = case.shop._replace(tastes=0.5 * other.tastes - case.shop.tastes)
    return case, softmax(before.expected(case.context), 50.0, floor=0.05)


def corrupted(case: Case, number: int) -> tuple[Case, np.ndarray]:
    """A good policy whose file or item table was damaged: four ways."""
    good = better(case, GAINS[1])
    broken = good.copy()
    broken[::100, 0] = np.nan
    opposite = softmax(-case.shop.expected(case.context), 5.0)  # a sign was lost
    return case, (broken, good * 1.5, good - 0.2, opposite)[number % 4]


def memorised(case: Case) -> np.ndarray:
    """[R, K] learnt by heart: what customers of the training decisions took, and any item for all others."""
    policy = np.full_like(case.incumbent, 1 / case.incumbent.shape[1])
    taken = ~_judged(len(policy)) & (case.feedback.rewards[:, 0] > 0)
    policy[taken] = np.eye(policy.shape[1])[case.feedback.slate[taken, 0]]
    return policy


def regretted(case: Case) -> tuple[Case, np.ndarray]:
    """More is taken than before, by showing what attracts everybody and is then reported."""
    best = np.argsort(-case.shop.expected(case.context).mean(0))[:3]
    harm, appeal = case.shop.harm.copy(), case.shop.appeal.copy()
    harm[best], appeal[best] = REPORTS, appeal[best] + 1.0
    case = draw_case(len(case.context), case.seed, case.shop._replace(harm=harm, appeal=appeal))
    bait = np.zeros_like(case.incumbent)
    bait[:, best] = 1 / len(best)
    return case, 0.3 * case.incumbent + 0.7 * bait


def hacked(case: Case, number: int) -> tuple[Case, np.ndarray]:
    """Reward hacking in two ways: learnt by heart, and taken but regretted."""
    return (case, memorised(case)) if number % 2 == 0 else regretted(case)


BAD: Mapping[str, Callable[[Case, int], tuple[Case, np.ndarray]]] = {
    "random": random_policy,
    "one_item": one_item,
    "reward_hacking": hacked,
    "stale": stale,
    "corrupted": corrupted,
}


def study(config: PlantedConfig) -> dict[str, Any]:
    """How many of each kind the gate ships: better ones must be better for sure, bad ones only not worse."""
    gains = np.linspace(*GAINS, config.better)
    planted = [("better", number, functools.partial(improved, gain=gain)) for number, gain in enumerate(gains)]
    planted += [(kind, 100 + number, make) for kind, make in BAD.items() for number in range(config.each)]
    shipped: dict[str, list[bool]] = {}
    with evaluation.measure() as used, threadpool_limits(1):
        for kind, number, make in tqdm(planted, desc="gate", unit="policy", leave=False):
            case, policy = make(draw_case(config.rounds, config.seed * 1000 + number), number)
            gate_kind = "change" if kind == "better" else "routine"
            shipped.setdefault(kind, []).append(_ships(case, policy, config, gate_kind))
    metrics = {
        f"gate.{kind}.shipped": evaluation.entry(float(np.mean(ships)), len(ships), "simulation")
        for kind, ships in shipped.items()
    }
    split = f"logs of {config.rounds} rounds; judged on a {config.gate.share:g} that no policy learnt from"
    return report_of(metrics | evaluation.usage_entries("gate", used), "planted", 10, config.rounds, split, config.seed)


def _ships(case: Case, policy: np.ndarray, config: PlantedConfig, kind: str) -> bool:
    judged = _judged(len(case.context), config.gate.share)
    feedback = SlateFeedback(*(part[judged] for part in case.feedback))
    both = (part[judged][:, None, :] for part in (case.incumbent, policy))
    harms = {"reports": case.reports[judged]}
    return policies.decide(feedback, *both, config.gate, kind, harms, seed=case.seed).ships


def _judged(rounds: int, share: float = Gate().share) -> np.ndarray:
    return policies.judged_decisions([str(row) for row in range(rounds)], share)
