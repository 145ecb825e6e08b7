"""The peers: a server that the interpreter of `.venv-bench` runs; imports nothing of ours.

A line of JSON in, a line of JSON out. `load` opens a model folder as sentence-transformers (float32 or bfloat16) or as
ONNX Runtime (exported through torch.onnx into the folder, once); `encode` answers with the seconds that it took.
"""

import json
import os
import sys
import time
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
from transformers import AutoModel, AutoTokenizer


def sentence_transformers(folder: str, dtype: str, max_tokens: int):
    """texts, batch size -> vectors, as `SentenceTransformer.encode` does it."""
    words = Transformer(folder, max_seq_length=max_tokens, model_kwargs={"dtype": getattr(torch, dtype)})
    size = words.get_embedding_dimension()
    model = SentenceTransformer(modules=[words, Pooling(size, "mean"), Normalize()], device="cpu")
    return lambda texts, batch: model.encode(texts, batch_size=batch, show_progress_bar=False, convert_to_numpy=True)


class _Vectors(torch.nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, input_ids, attention_mask):
        tokens = self.model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        mask = attention_mask[..., None].to(tokens.dtype)
        return torch.nn.functional.normalize((tokens * mask).sum(1) / mask.sum(1), dim=-1)


def _exported(folder: str) -> str:
    path = Path(folder) / "encoder.onnx"
    if not path.exists():
        model = _Vectors(AutoModel.from_pretrained(folder, attn_implementation="eager")).eval()
        example = (torch.ones(2, 8, dtype=torch.long), torch.ones(2, 8, dtype=torch.long))
        free = {0: torch.export.Dim("batch"), 1: torch.export.Dim("length")}
        program = torch.onnx.export(
            model, example, dynamo=True, input_names=["input_ids", "attention_mask"], dynamic_shapes=(free, free)
        )
        program.save(str(path))
    return str(path)


def onnx(folder: str, dtype: str, max_tokens: int):
    """texts, batch size -> vectors; sorted by length as sentence-transformers sorts."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(_exported(folder), options, providers=["CPUExecutionProvider"])
    tokenizer = AutoTokenizer.from_pretrained(folder)

    def encode(texts: list[str], batch: int) -> np.ndarray:
        order = np.argsort([-len(text) for text in texts], kind="stable")
        parts = []
        for start in range(0, len(order), batch):
            rows = [texts[i] for i in order[start : start + batch]]
            fed = tokenizer(rows, padding=True, truncation=True, max_length=max_tokens, return_tensors="np")
            inputs = {name: fed[name].astype(np.int64) for name in ("input_ids", "attention_mask")}
            parts.append(session.run(None, inputs)[0])
        vectors = np.concatenate(parts)
        return vectors[np.argsort(order)]

    return encode


PEERS = {"sentence_transformers": sentence_transformers, "onnxruntime": onnx}


def main() -> None:
    """Answers until the input ends."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what the libraries print is no answer
    encode = None
    for line in sys.stdin:
        asked = json.loads(line)
        if asked["do"] == "load":
            torch.set_num_threads(asked["threads"])
            encode = PEERS[asked["peer"]](asked["folder"], asked["dtype"], asked["max_tokens"])
            answer = {"torch": torch.__version__, "onnxruntime": onnxruntime.__version__}
        elif asked["do"] == "vectors":
            answer = {"vectors": np.asarray(encode(asked["texts"], asked["batch"]), np.float32).tolist()}
        elif asked["do"] == "encode":
            begin = time.perf_counter()
            encode(asked["texts"], asked["batch"])
            answer = {"seconds": time.perf_counter() - begin}
        else:
            times = []
            for text in asked["texts"]:
                begin = time.perf_counter()
                encode([text], 1)
                times.append(time.perf_counter() - begin)
            answer = {"seconds": times}
        answers.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main()
