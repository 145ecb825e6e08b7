"""MovieLens-100K as TFRS' retrieval tutorial splits and judges it: its model, written anew, and ours."""

from pipelines.tutorial.study import TutorialConfig, check, study

__all__ = ["TutorialConfig", "check", "study"]
