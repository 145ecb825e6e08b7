"""faiss and implicit as peers: a server that the interpreter of `.venv-bench` runs; imports nothing of ours.

`faiss` holds a table and is asked by files of queries; `als` factorises who watched what and scores everything.
"""

import json
import os
import sys
import time

import faiss
import implicit
import numpy as np
import scipy.sparse
from implicit.als import AlternatingLeastSquares


class Flat:
    """faiss' exact index under the inner product.

    Args:
      asked: table, a .npy of [M, D], and threads.
    """

    def __init__(self, asked: dict):
        faiss.omp_set_num_threads(asked["threads"])
        table = np.load(asked["table"])
        self._index = faiss.IndexFlatIP(table.shape[1])
        self._index.add(table)
        self._queries = np.load(asked["queries"])

    def run(self, asked: dict) -> dict:
        """Seconds of one search over all queries, together or one by one; places are kept where they are asked for."""
        size = len(self._queries) if asked["batch"] is None else asked["batch"]
        parts = [self._queries[begin : begin + size] for begin in range(0, len(self._queries), size)]
        begin = time.perf_counter()
        found = [self._index.search(part, asked["k"])[1] for part in parts]
        seconds = time.perf_counter() - begin
        if asked.get("keep"):
            np.save(asked["keep"], np.concatenate(found))
        return {"seconds": seconds}


def als(asked: dict) -> dict:
    """Fits and scores; scores [U, N] go to a file.

    Args:
      asked: watched, a .npy of [U, N]; factors, regularization, alpha, iterations, seed, threads; keep, a file.
    """
    watched = scipy.sparse.csr_matrix(np.load(asked["watched"]))
    names = ("factors", "regularization", "alpha", "iterations")
    model = AlternatingLeastSquares(
        **{name: asked[name] for name in names}, random_state=asked["seed"], num_threads=asked["threads"]
    )
    begin = time.perf_counter()
    model.fit(watched, show_progress=False)
    seconds = time.perf_counter() - begin
    np.save(asked["keep"], model.user_factors @ model.item_factors.T)
    return {"seconds": seconds}


def main() -> None:
    """Answers until the input ends."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what the libraries print is no answer
    flat = None
    for line in sys.stdin:
        asked = json.loads(line)
        if asked["do"] == "load":
            flat = Flat(asked)
            answer = {"faiss": faiss.__version__, "faiss_built_for": faiss.get_compile_options().strip()}
        elif asked["do"] == "search":
            answer = flat.run(asked)
        else:
            answer = als(asked) | {"implicit": implicit.__version__}
        answers.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main()
