"""What heads answer on test rows, beside TF-IDF, under typos and synonyms, and to intents never seen."""

from tfrec_llm.text.judging.judge import judge_answers, judge_head
from tfrec_llm.text.judging.robust import robustness_figures
from tfrec_llm.text.judging.tfidf import tfidf_figures
from tfrec_llm.text.judging.unseen import unseen_figures

__all__ = ["judge_answers", "judge_head", "robustness_figures", "tfidf_figures", "unseen_figures"]
