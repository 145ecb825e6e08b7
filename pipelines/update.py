"""Learns from the event log of a run that is served: `python -m pipelines.update --config video`.

Ends when it is interrupted; `--once` when no batch of events is left. `--rollback` goes back to the version before,
`--replay` learns everything again and compares.
"""

import contextlib
import os
from collections.abc import Sequence

from pipelines import arguments
from tfrec_llm import training
from tfrec_llm.serving import update as learning
from tfrec_llm.serving import versions

NICE = 10  # the server comes first


def main(argv: Sequence[str] | None = None) -> None:
    """Event log -> next versions in `<run>/export`, which a running server takes over.

    Args:
      argv: command-line arguments, None for the process's own.
    """
    parser = arguments.parser(__doc__)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--once", action="store_true", help="end when no batch of events is left")
    what.add_argument("--rollback", action="store_true", help="serve the version before, and this one never again")
    what.add_argument("--replay", action="store_true", help="learn everything again from the log, and compare")
    options = parser.parse_args(argv)
    config, run = arguments.read(options)
    if options.rollback:
        labels = versions.roll_back(run / "export", "taken back by hand")
        print(f"update: version {labels.stable} in {run / 'export'} serves again")
        return
    os.nice(NICE)
    training.set_threads(config.train)
    if options.replay:
        print(f"update: replayed; the largest difference of any weight is {learning.replay(config, run):.3g}")
        return
    with contextlib.suppress(KeyboardInterrupt):
        learning.update(config, run, once=options.once)
    print(f"update: version {versions.served_version(run / 'export')} serves; what was learnt: {run / 'export'}")


if __name__ == "__main__":
    arguments.program(main)
