"""The golden queries of a version, asked before it is labelled: a TensorFlow Serving asks none itself."""

from pathlib import Path

from tfrec_llm.config import Serving
from tfrec_llm.serving.bundle import read_policy
from tfrec_llm.serving.golden import check_golden
from tfrec_llm.serving.manifest import POLICY_FILES, differs_in
from tfrec_llm.serving.server.answering import Answering, load


class Trial:
    """Loads a graph once for all versions that differ in their policy alone.

    Args:
      run: the run folder.
      settings: `golden_overlap` and `threads`.
    """

    def __init__(self, run: Path, settings: Serving):
        self._run, self._settings = run, settings
        self._folder: Path | None = None
        self._answering: Answering | None = None

    def objection(self, folder: Path) -> str:
        """Why a version must not serve, "" where its golden answers are good.

        Args:
          folder: the version's.
        """
        try:
            if self._answering is None or not self._is_like(folder):
                self._answering = load(folder, self._run, "export", self._settings.threads, 1)
            else:
                self._answering.take_policy(read_policy(folder), int(folder.name))
            self._folder = folder
            check_golden(folder, self._answering.lists, self._settings.golden_overlap)
        except ValueError as error:
            return str(error)
        return ""

    def _is_like(self, folder: Path) -> bool:
        return self._folder.is_dir() and differs_in(self._folder, folder, POLICY_FILES)
