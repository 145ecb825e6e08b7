"""RecBole as a peer: a server that the interpreter of `.venv-bench-recbole` runs; imports nothing of ours.

`load` reads interactions and builds a model as RecBole's `run_recbole` does; `train` runs batches of its own trainer
and answers with the targets and the seconds.
"""

import itertools
import json
import os
import sys
import time

import torch
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.utils import get_model, get_trainer, init_seed


class Training:
    """A model with its trainer and its batches.

    Args:
      asked: model, folder of the interactions, threads, seed, and settings of RecBole.
    """

    def __init__(self, asked: dict):
        torch.set_num_threads(asked["threads"])
        os.chdir(asked["folder"])  # it leaves logs where it stands
        settings = {
            "data_path": asked["folder"],
            "checkpoint_dir": asked["folder"],
            "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
            "eval_args": {"split": {"LS": "valid_and_test"}, "group_by": "user", "order": "TO", "mode": "full"},
            "loss_type": "CE",
            "train_neg_sample_args": None,
            "use_gpu": False,
            "show_progress": False,
            "state": "WARNING",
            "seed": asked["seed"],
            **asked["settings"],
        }
        config = Config(model=asked["model"], dataset=asked["dataset"], config_dict=settings)
        init_seed(config["seed"], config["reproducibility"])
        dataset = create_dataset(config)
        self._batches, *_ = data_preparation(config, dataset)
        self._size = config["train_batch_size"]
        self.model = get_model(config["model"])(config, self._batches.dataset)
        self._trainer = get_trainer(config["MODEL_TYPE"], config["model"])(config, self.model)
        self.items, self.targets = dataset.item_num - 1, len(self._batches.dataset)
        self.length = config["MAX_ITEM_LIST_LENGTH"]

    def run(self, least: float) -> dict:
        """Trains batch by batch, passes over the data as it takes them, until `least` seconds are over."""
        begin, seconds, done, steps = time.perf_counter(), 0.0, 0, max(1, self.targets // self._size)
        while seconds < least:
            if (done // self._size) % steps == 0:
                batches = iter(self._batches)
            loss = self._trainer._train_epoch(itertools.islice(batches, 1), done // self._size)
            done, seconds = done + self._size, time.perf_counter() - begin
        return {"seconds": seconds, "targets": done, "loss": float(loss)}


def main() -> None:
    """Answers until the input ends."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what the libraries print is no answer
    training = None
    for line in sys.stdin:
        asked = json.loads(line)
        if asked["do"] == "load":
            training = Training(asked)
            answer = {"torch": torch.__version__, "items": training.items, "targets": training.targets}
            answer |= {"history": training.length, "weights": sum(p.numel() for p in training.model.parameters())}
        else:
            answer = training.run(asked["seconds"])
        answers.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main()
