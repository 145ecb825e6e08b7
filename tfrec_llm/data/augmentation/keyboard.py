"""Which letters lie beside each other on the usual Latin keyboard. Used by `edits` and `robustness`."""

_ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")


def _beside(row: int, column: int) -> str:
    """Neighbours of a key: left and right, two above, two below (each row lies half a key to the right)."""
    places = [(row, column - 1), (row, column + 1), (row - 1, column), (row - 1, column + 1)]
    places += [(row + 1, column - 1), (row + 1, column)]
    return "".join(_ROWS[r][c] for r, c in places if 0 <= r < len(_ROWS) and 0 <= c < len(_ROWS[r]))


NEIGHBOURS = {key: _beside(r, c) for r, row in enumerate(_ROWS) for c, key in enumerate(row)}
