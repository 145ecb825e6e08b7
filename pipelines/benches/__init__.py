"""What `make bench` measures beside others: name -> the entries of bench.json that it makes."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pipelines.benches.encoding import encode
from pipelines.benches.rounds import Settings
from pipelines.benches.steps import step

BENCHES: Mapping[str, Callable[[Settings], Iterator[tuple[str, dict[str, Any]]]]] = {"encode": encode, "step": step}
