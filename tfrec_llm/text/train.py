"""The text stage: a frozen encoder, heads on its cached vectors, item vectors. Leaves them in the stage's folder."""

from typing import Any

import numpy as np

from tfrec_llm import data, training
from tfrec_llm.config import Config, ConfigError, choose
from tfrec_llm.text.bulk import encode_texts
from tfrec_llm.text.encoder import TextEncoder
from tfrec_llm.text.encoders import ENCODERS
from tfrec_llm.text.fit import fit_head, judge_head
from tfrec_llm.text.items import item_vectors
from tfrec_llm.text.tasks import Task, main_labels, make_tasks
from tfrec_llm.training import Stage, files
from tfrec_llm.types import Dataset, Utterances


def train(config: Config, dataset: Dataset, stage: Stage) -> dict[str, dict[str, Any]]:
    """Trains the heads and encodes the items.

    Args:
      config: sections data, train and text, and the seed.
      dataset: catalogue and domain.
      stage: where results, checkpoints and TensorBoard logs go.

    Returns:
      Metric key -> {"value", "ci95", "over", "n", "split"}, also written as `metrics.json`.
    """
    settings, builder = choose(ENCODERS, config.text.encoder, "text.encoder")
    encoder = builder(settings)
    items = item_vectors(encoder, dataset.catalogue, config.text)
    present = np.flatnonzero(items.present[:, 0])
    training.write_projector(stage.logs, "items", items.text[present], [dataset.catalogue.titles[i] for i in present])
    files.write_npz(stage.folder / "item_vectors.npz", {"text": items.text, "present": items.present})
    limits = config.text.max_rows, config.text.max_test_rows
    tasks = make_tasks(_corpora(config, dataset), dataset.domain, *limits, config.seed)
    vectors = _vectors(encoder, tasks, config)
    figures, trained = {}, 0
    (stage.folder / "heads").mkdir(exist_ok=True)
    for task in tasks:
        embeddings = np.stack([vectors[text] for text in task.texts])
        head = fit_head(task, embeddings, config, stage)
        training.save_weights(head, stage.folder / "heads" / f"{task.name}.npz")
        figures |= judge_head(task, embeddings, head, main_labels(tasks), config.seed)
        trained += sum(int(np.prod(v.shape)) for v in head.trainable_variables)
    share = trained / (trained + encoder.num_transformer_weights)
    figures["text.trained_share"] = {"value": share, "ci95": None, "over": "seeds", "n": 1, "split": "train"}
    labels = {t.name: {"labels": list(t.labels), "multi_label": t.multi_label} for t in tasks}
    files.write_json(stage.folder / "labels.json", labels)
    files.write_json(stage.folder / "metrics.json", figures)
    return figures


def _corpora(config: Config, dataset: Dataset) -> list[Utterances]:
    """The domain's sentences, the corpora of the config, and the user's own labelled file."""
    corpora = [data.domain_utterances(dataset, config.text.domain_rows, config.seed)]
    unknown = [name for name in config.text.corpora if name not in data.CORPORA]
    if unknown:
        raise ConfigError(f"text.corpora: expected names among {', '.join(data.CORPORA)}, got {', '.join(unknown)}.")
    corpora += [data.CORPORA[name](config.seed) for name in config.text.corpora]
    return corpora


def _vectors(encoder: TextEncoder, tasks: list[Task], config: Config) -> dict[str, np.ndarray]:
    """Every distinct text of the tasks -> its vector."""
    texts = sorted({str(text) for task in tasks for text in task.texts})
    text = config.text
    encoded = encode_texts(encoder, texts, "query", text.max_tokens, text.batch_size, text.precision)
    return dict(zip(texts, encoded, strict=True))
