"""How the encoder is fine-tuned, by name. A method is one file and one line here; all pass the same contract."""

from collections.abc import Callable

from tfrec_llm.text.finetuning.adapter import AdapterSettings, adapter
from tfrec_llm.text.finetuning.full import FrozenSettings, FullSettings, frozen, full
from tfrec_llm.text.finetuning.lora import LoraSettings, lora
from tfrec_llm.text.finetuning.method import Finetuning
from tfrec_llm.text.finetuning.mixer import MixerSettings, mixer
from tfrec_llm.text.finetuning.prefix import PrefixSettings, prefix

FINETUNING: dict[str, tuple[type, Callable[..., Finetuning]]] = {
    "full": (FullSettings, full),
    "frozen": (FrozenSettings, frozen),
    "lora": (LoraSettings, lora),
    "adapter": (AdapterSettings, adapter),
    "prefix": (PrefixSettings, prefix),
    "mixer": (MixerSettings, mixer),
}

__all__ = ["FINETUNING", "Finetuning"]
