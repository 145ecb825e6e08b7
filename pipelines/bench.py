"""Measures speed beside other libraries, in turn and in one run: `python -m pipelines.bench`."""

from collections.abc import Sequence
from pathlib import Path

from pipelines import arguments
from pipelines.benches import BENCHES
from pipelines.benches.rounds import Settings, table
from tfrec_llm import training
from tfrec_llm.training import files


def main(argv: Sequence[str] | None = None) -> None:
    """Rates and ratios -> `<run>/bench.json`, each written as it comes; what other benches left there stays.

    Args:
      argv: command-line arguments, None for the process's own.
    """
    parser = arguments.parser(__doc__)
    parser.set_defaults(run=Path("runs/bench"))
    parser.add_argument("--only", nargs="*", choices=[*BENCHES], default=[], help="benches to run; none = all")
    parser.add_argument("--rounds", type=int, default=5, help="pairs of runs, at least 5 for a figure to be published")
    parser.add_argument("--encoders", nargs="+", default=["minilm", "e5_small"], help="of the encoding bench")
    parser.add_argument("--events", type=int, default=40_000, help="training events of the bench of sequences, about")
    parser.add_argument("--texts", type=int, default=512, help="texts of the encoding bench")
    parser.add_argument("--served", type=Path, default=Path("runs/video"), help="finished run of the bench of serving")
    parser.add_argument("--reloads", type=int, default=200, help="versions taken over in place, bench of serving")
    parser.add_argument("--kills", type=int, default=50, help="kill -9 of the server, bench of serving")
    parser.add_argument("--seconds", type=float, default=60.0, help="of events without a pause, bench of serving")
    options = parser.parse_args(argv)
    config, run = arguments.read(options)
    training.set_threads(config.train)
    path = run / "bench.json"
    settings = Settings(
        config, options.rounds, tuple(options.encoders), options.texts, options.events,
        options.served, options.reloads, options.kills, options.seconds,
    )  # fmt: skip
    for name in options.only or BENCHES:
        for key, entry in BENCHES[name](settings):
            known = files.read_json(path) if path.exists() else {}
            files.write_json(path, {**known, key: entry})
    print(table(files.read_json(path)))
    print(f"bench: {path}")


if __name__ == "__main__":
    arguments.program(main)
