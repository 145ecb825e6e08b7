"""Amounts of money in tokens: "200" out of the tokens that are tagged as a bound, by plain graph operations."""

import re
from collections.abc import Sequence

import tensorflow as tf

_KEPT = re.compile(r"[0-9.,]")
_THOUSANDS = {"千": "k", "k": "k", "万": "w", "萬": "w", "w": "w"}


class Amounts(tf.Module):
    """Token ids -> the first number among them.

    Args:
      pieces: what each id stands for, "▁" at the beginning of a word.
    """

    def __init__(self, pieces: Sequence[str]):
        super().__init__(name="amounts")
        self._marks = tf.Variable([_mark(piece) for piece in pieces], trainable=False, name="marks")

    def __call__(self, ids: tf.Tensor, tagged: tf.Tensor) -> tf.Tensor:
        """The first number in the tagged tokens of each row.

        Args:
          ids: [B, L] token ids.
          tagged: [B, L] bool.

        Returns:
          [B] float32, 0 where there is none. "1,500" is 1500, "2k" and "2千" are 2000, "3万" is 30000.
        """
        text = tf.strings.reduce_join(tf.where(tagged, tf.gather(self._marks, ids), " "), axis=1)
        for pattern, rewritten in ((r"([0-9]) *, *([0-9]{3})", r"\1\2"), (r"([0-9]) *\. *([0-9])", r"\1.\2")):
            text = tf.strings.regex_replace(text, pattern, rewritten)
        head = r"^[^0-9]*([0-9]{1,12}(?:\.[0-9]{1,6})?)"
        found = tf.strings.regex_full_match(text, head + ".*")
        number = tf.strings.to_number(tf.where(found, tf.strings.regex_replace(text, head + ".*$", r"\1"), "0"))
        for mark, factor in (("k", 1e3), ("w", 1e4)):
            times = tf.strings.regex_full_match(text, f"{head} *{mark}.*")
            number *= tf.where(times, factor, 1.0)
        return number


def _mark(piece: str) -> str:
    """What of a piece an amount is made of: digits, their signs, the beginning of a word."""
    begins, bare = piece.startswith("▁"), piece.replace("▁", "")
    kept = "".join(_KEPT.findall(bare))
    rest = re.sub(r"[0-9.,]", "", bare).lower()
    marked = kept + (_THOUSANDS.get(rest, "") or _THOUSANDS.get(rest[:1], "") * (rest[:1] in "千万萬" and rest != ""))
    return f" {marked}" if begins and marked else marked
