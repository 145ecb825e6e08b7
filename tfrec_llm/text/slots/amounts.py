"""Amounts of money in tokens: "200" out of the tokens that are tagged as a bound, by plain graph operations.

Two grammars: digits with a factor behind them ("1,500", "2k", "3万"), and Chinese number words up to 99,999 that name
at least one power of ten, such as 两百, 一千二百, 三千零五十, 一万二; a lone 一 or 两 is no amount.
"""

from collections.abc import Sequence

import tensorflow as tf

# What a character of a piece becomes in the text that is searched; a Chinese digit is z and the digit.
_KEPT = {sign: sign for sign in "0123456789.,"} | {sign: f"z{n}" for n, sign in enumerate("零一二三四五六七八九")}
_KEPT |= {"〇": "z0", "两": "z2", "兩": "z2", "十": "S", "百": "B", "千": "k", "万": "w", "萬": "w"}
_OTHER = "|"  # no number goes on across it
_FACTORS = (("B", 1e2), ("k", 1e3), ("w", 1e4))
_POWERS = (("k", 1e3), ("B", 1e2), ("S", 1e1))

_DIGITS = "[0-9]{1,12}(?:[.][0-9]{1,6})?(?: *[Bkw])?"
_ZERO, _LAST, _TENS, _HUNDREDS = "(?: *z0)?", "(?: *z[1-9])?", "(?:(?:z[1-9] *)?S)", "(?:z[1-9] *B)"
_SECTION = f"(?:z[1-9] *k{_ZERO}(?: *{_HUNDREDS})?{_ZERO}(?: *{_TENS})?|{_HUNDREDS}{_ZERO}(?: *{_TENS})?|{_TENS})"
_WORDS = f"(?:(?:{_SECTION}|z[1-9]){_LAST} *w(?:{_ZERO} *{_SECTION})?|{_SECTION}){_ZERO}{_LAST}"
_WHOLE = "(?:[^SBkw ]| [^SBkw]| *$)"  # a last digit with a power behind it begins another number
_FIRST = f"^(?:z[0-9]|[^0-9z])*?(?:({_WORDS}){_WHOLE}|({_DIGITS})).*$"


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
          [B] float32, 0 where there is none. "1,500" is 1500, "2k" and "2千" are 2000, "3万" is 30000, "一千二" 1200.
        """
        text = tf.strings.reduce_join(tf.where(tagged, tf.gather(self._marks, ids), _OTHER), axis=1)
        for pattern, rewritten in ((r"([0-9]) *, *([0-9]{3})", r"\1\2"), (r"([0-9]) *[.] *([0-9])", r"\1.\2")):
            text = tf.strings.regex_replace(text, pattern, rewritten)
        first = _part(text, _FIRST, r"\1\2")
        first = tf.strings.regex_replace(first, " ", "")
        return tf.where(tf.strings.regex_full_match(first, "[zS].*"), _said(first), _written(first))


def _written(number: tf.Tensor) -> tf.Tensor:
    """[B] "2.5k" -> 2500; "" -> 0."""
    value = tf.strings.to_number(tf.strings.join(["0", _part(number, "^([0-9.]+).*$")]))
    for mark, factor in _FACTORS:
        value *= tf.where(tf.strings.regex_full_match(number, f".*{mark}"), factor, 1.0)
    return value


def _said(words: tf.Tensor) -> tf.Tensor:
    """[B] "z1wz2k" -> 12000; a last digit is of the next lower power, or one where a zero is between."""
    above, below = _part(words, "^(.*)w.*$"), tf.strings.regex_replace(words, "^.*w", "")
    short = tf.strings.regex_full_match(words, ".*wz[1-9]")  # 一万二
    return 1e4 * _below_ten_thousand(above) + tf.where(short, 1e3, 1.0) * _below_ten_thousand(below)


def _below_ten_thousand(words: tf.Tensor) -> tf.Tensor:
    value = tf.where(tf.strings.regex_full_match(words, "(?:.*[Bk]|.*z0)?S.*"), 10.0, 0.0)  # 十 without a digit
    for mark, factor in _POWERS:
        value += factor * _digit(words, f"^.*z([1-9]){mark}.*$")
    last = _digit(words, "^.*z([1-9])$")
    for mark, factor in (("B", 1e1), ("k", 1e2)):
        last *= tf.where(tf.strings.regex_full_match(words, f".*{mark}z[1-9]"), factor, 1.0)
    return value + last


def _digit(words: tf.Tensor, pattern: str) -> tf.Tensor:
    """[B] the digit that the pattern finds, 0 where it finds none."""
    return tf.strings.to_number(tf.strings.join(["0", _part(words, pattern)]))


def _part(text: tf.Tensor, pattern: str, group: str = r"\1") -> tf.Tensor:
    """[B] the group of a pattern that matches whole texts, "" where it does not."""
    return tf.where(tf.strings.regex_full_match(text, pattern), tf.strings.regex_replace(text, pattern, group), "")


def _mark(piece: str) -> str:
    """What of a piece an amount is made of: digits, their signs, number words, the beginning of a word."""
    begins, bare = piece.startswith("▁"), piece.replace("▁", "")
    latin = bare.strip("0123456789.,").lower()
    signs = {**_KEPT, latin: latin, latin.upper(): latin} if latin in ("k", "w") else _KEPT  # "k" alone, no "bucks"
    marked = "".join(signs.get(sign, _OTHER) for sign in bare)
    return f" {marked}" if begins else marked
