"""What `make bench` measures beside others: name -> the entries of bench.json that it makes."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pipelines.benches.agents import beside_bandits
from pipelines.benches.encoding import encode
from pipelines.benches.rounds import Settings
from pipelines.benches.search import top_k
from pipelines.benches.sequences import lstm
from pipelines.benches.serving import under_load
from pipelines.benches.steps import step
from pipelines.benches.towers import beside_tutorial

BENCHES: Mapping[str, Callable[[Settings], Iterator[tuple[str, dict[str, Any]]]]] = {
    "agents": beside_bandits,
    "encode": encode,
    "lstm": lstm,
    "serve": under_load,
    "step": step,
    "towers": beside_tutorial,
    "topk": top_k,
}
