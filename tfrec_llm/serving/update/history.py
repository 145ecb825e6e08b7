"""What learning did, batch by batch: `<run>/export/learning.jsonl`; from there it goes on, by it it is replayed."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from tfrec_llm.serving.update.batches import Cut
from tfrec_llm.training import files

NAME = "learning.jsonl"


@dataclass(frozen=True)
class Learnt:
    """One batch."""

    event: int  # its cut
    time: int
    source: int  # the version that it started from
    version: int  # that it became, 0 = refused
    decisions: int  # that it learnt from
    reason: str  # of the gate
    value: float | None = None  # estimated reward of a decision, before
    gain: float | None = None  # of the new policy
    left_out: int = 0  # decisions of another fusion version
    dropped: bool = False  # the gate would have let it pass, but its source did not serve any more

    @property
    def only_items(self) -> bool:
        """Whether nothing was learnt: the policy of the source goes on in a version with other items."""
        return bool(self.version) and not self.decisions

    @property
    def cut(self) -> Cut:
        """How far the log has been learnt from."""
        return Cut(self.event, self.time)


def read_history(folder: Path) -> list[Learnt]:
    """All batches, in their order; a line that a killed process left unfinished does not count.

    Raises:
      ValueError: a line that is none of ours.
    """
    path = folder / NAME
    if not path.exists():
        return []
    whole = [line for line in path.read_text("utf-8").splitlines(keepends=True) if line.endswith("\n")]
    try:
        return [Learnt(**json.loads(line)) for line in whole]
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path}: expected a batch in each line, got: {error}; delete it to learn anew.") from error


def origins(done: Iterable[Learnt]) -> set[int]:
    """Versions that batches started from and that none became: without them nothing can be replayed."""
    made: set[int] = set()
    found: set[int] = set()
    for learnt in done:
        found |= {learnt.source} - made
        made.add(learnt.version)
    return found


def descendants(done: Iterable[Learnt], version: int) -> set[int]:
    """Versions that were made from one, and from those."""
    found: set[int] = set()
    for learnt in done:
        if learnt.version and learnt.source in {version, *found}:
            found.add(learnt.version)
    return found


def add(folder: Path, learnt: Learnt) -> None:
    """Adds a batch; it is on disk when this returns, and where that fails the file is as it was.

    Raises:
      OSError: the disk is full.
    """
    path = folder / NAME
    text = path.read_text("utf-8") if path.exists() else ""
    kept = text[: text.rfind("\n") + 1]
    files.write_text(path, kept + json.dumps(asdict(learnt)) + "\n")
