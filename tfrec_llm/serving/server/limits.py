"""Sizes that the settings and the model limit: what is larger is refused with one sentence."""

from tfrec_llm.config import Serving
from tfrec_llm.serving.server.asks import Facts
from tfrec_llm.serving.server.forms import RecommendForm
from tfrec_llm.serving.server.refusals import RefusedError


def check_recommend(form: RecommendForm, settings: Serving, facts: Facts) -> None:
    """Refuses a request that is too large.

    Raises:
      RefusedError: 422.
    """
    most = min(settings.max_k, facts.candidates)
    if not 1 <= form.k <= most:
        raise RefusedError(
            422, f"k: expected 1 to {most} items, got {form.k}; ask for {'at least one' if form.k < 1 else 'fewer'}."
        )
    sizes = (
        ("history", len(form.history), settings.max_history, "items"),
        ("utterance", len(form.utterance), settings.max_utterance, "characters"),
        ("attributes", len(form.attributes), facts.max_attributes, "values"),
        ("exclude", len(form.exclude), facts.max_exclude, "items"),
    )
    for name, size, limit, what in sizes:
        check_size(name, size, limit, what)


def check_size(name: str, size: int, limit: int, what: str) -> None:
    """Refuses a list or text that is too long.

    Raises:
      RefusedError: 422.
    """
    if size > limit:
        raise RefusedError(422, f"{name}: expected at most {limit} {what}, got {size}; send fewer.")
