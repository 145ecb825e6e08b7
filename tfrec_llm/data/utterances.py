"""Sentences of a domain's own: synthetic utterances for the protocol, and labelled ones for the heads.

Place in the flow: they come after the dataset (which values do items share?) and feed the text stage and half B.
All of them are synthetic: made of the domain's templates, never spoken by a user. Templates, words and feelings are
split 70/30 between training and test, and nothing of one side is said on the other (a test keeps the shipped domains
free of phrases that stand in two lists).
"""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from tfrec_llm.data.domains import NEUTRAL
from tfrec_llm.data.emotions import SENTIMENT_OF
from tfrec_llm.data.texts import SENTIMENTS, normalise
from tfrec_llm.data.voices import SIDES, Template, Voice, languages_of, value_key, voices_of
from tfrec_llm.types import FIRST_ITEM, Catalogue, Dataset, Domain, Utterances

MIN_SHARED = 50  # items that must share an attribute value before a sentence may name it
MAX_ATTRIBUTES = 2
DAMAGE = 0.3  # probability that an attribute is dropped or swapped
FEELING = 0.5  # share of domain utterances that carry a feeling


def shared_values(catalogue: Catalogue, attributes: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """The values of each attribute that at least 50 items share, sorted.

    Args:
      catalogue: the items; an attribute that it lacks has no values.
      attributes: names, as in `Domain.utterance_attributes`.
    """
    shared = {}
    for name in attributes:
        counts = Counter(value for values in catalogue.attributes.get(name, ())[FIRST_ITEM:] for value in set(values))
        shared[name] = tuple(sorted(value for value, count in counts.items() if count >= MIN_SHARED))
    return shared


def synthesise(dataset: Dataset, items: np.ndarray, split: str, seed: int) -> np.ndarray:
    """SYNTHETIC utterances of users who want these items: never to be quoted as what real users say.

    An utterance names up to two attributes of the item, only values that at least 50 items share, never its title,
    people or id; each is dropped or swapped for a wrong value with probability .3. English and Chinese take turns.

    Args:
      dataset: for its domain (templates, words) and catalogue.
      items: [R] item indices; padding and unknown get an utterance that names nothing.
      split: "train" or "test": which templates and words may be used; the two share none.
      seed: chooses everything else.

    Returns:
      [R] str, none of them empty.

    Raises:
      ValueError: another split, or a domain without templates.
    """
    return synthesise_named(dataset, items, split, seed)[0]


def synthesise_named(dataset: Dataset, items: np.ndarray, split: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The same, and [R] str what each names: "" or the like of "decade=1990s|genre=Comedy"."""
    domain, voices = dataset.domain, voices_of(dataset.domain, split)
    shared = shared_values(dataset.catalogue, domain.utterance_attributes)
    rng = np.random.default_rng([seed, SIDES.index(split)])
    texts, names, of_voices = [], [], [_sayable(shared, voice) for voice in voices]
    for row, item in enumerate(np.asarray(items)):
        voice, sayable = voices[(row + seed) % len(voices)], of_voices[(row + seed) % len(voices)]
        named = _damage(_named(dataset.catalogue, int(item), sayable, rng), dataset.catalogue, int(item), sayable, rng)
        text, named = _say(voice.requests, named, voice.words, rng)
        texts.append(text)
        names.append("|".join(sorted(f"{name}={value}" for name, value in named.items())))
    return np.array(texts, dtype=np.str_), np.array(names, dtype=np.str_)


def can_name(dataset: Dataset) -> bool:
    """Whether `synthesise` has anything of these items to name: templates, and values that enough of them share."""
    domain = dataset.domain
    if not domain.templates:
        return False
    shared = shared_values(dataset.catalogue, domain.utterance_attributes)
    return any(any(_sayable(shared, voice).values()) for voice in voices_of(domain, "train"))


def domain_utterances(dataset: Dataset, rows: int, seed: int) -> Utterances:
    """SYNTHETIC sentences with the domain's intents, emotions and their sentiments, for the heads of the text stage.

    Half of them carry a phrase of a feeling, which is their emotion. A request without one is neutral; any other intent
    without one has no emotion label (a complaint is not neutral just because it names no feeling).

    Args:
      dataset: for its domain and for the values that its items share.
      rows: sentences to make; those that come out twice are kept once, so that fewer may come back.
      seed: chooses everything but the sides of templates, words and feelings.

    Returns:
      Utterances of the corpus "domain"; train and validation use one side's phrases, test the other's.
    """
    domain, rng = dataset.domain, np.random.default_rng([seed, 3])
    shared = shared_values(dataset.catalogue, domain.utterance_attributes)
    voices = {side: voices_of(domain, side) for side in SIDES}
    kept: dict[str, tuple[str, str, str, str, str]] = {}
    for row in range(rows):
        split = ("train", "validation", "test")[int(rng.choice(3, p=(0.7, 0.1, 0.2)))]
        place = row % len(voices["train"])
        voice = voices["test" if split == "test" else "train"][place]
        template = _any_template(voice, rng)
        text, emotion = _with_feeling(_fill_freely(template, shared, voice, rng), template, voice, domain, rng)
        kept.setdefault(normalise(text), (text, split, languages_of(domain)[place], template.intent, emotion))
    texts, splits, languages, intents, emotions = zip(*kept.values(), strict=True) if kept else ((),) * 5
    return Utterances(
        corpus="domain",
        texts=np.array(texts, dtype=np.str_),
        split=np.array(splits, dtype=np.str_),
        language=np.array(languages, dtype=np.str_),
        labels={"intent": domain.intents, "emotion": domain.emotions, "sentiment": SENTIMENTS},
        intent=np.array([domain.intents.index(intent) for intent in intents], dtype=np.int32),
        emotion=np.array([domain.emotions.index(e) if e else -1 for e in emotions], dtype=np.int32),
        sentiment=np.array([_sentiment(emotion) for emotion in emotions], dtype=np.int32),
    )


def _sentiment(emotion: str) -> int:
    """What a feeling says about liking, -1 where it says nothing."""
    return SENTIMENTS.index(SENTIMENT_OF[emotion]) if emotion in SENTIMENT_OF else -1


def _sayable(shared: Mapping[str, tuple[str, ...]], voice: Voice) -> dict[str, tuple[str, ...]]:
    """The shared values that a voice has words for."""
    return {name: tuple(v for v in values if value_key(v) in voice.words) for name, values in shared.items()}


def _pick(choices: Sequence, rng: np.random.Generator):
    return choices[int(rng.integers(len(choices)))]


def _named(
    catalogue: Catalogue, item: int, sayable: Mapping[str, tuple[str, ...]], rng: np.random.Generator
) -> dict[str, str]:
    """Up to two attributes of an item and one value of each that may be said."""
    values = {}
    for name, allowed in sayable.items():
        own = [value for value in catalogue.attributes.get(name, {item: ()})[item] if value in allowed]
        if own:
            values[name] = _pick(own, rng)
    chosen = rng.permutation(sorted(values))[:MAX_ATTRIBUTES]
    return {str(name): values[str(name)] for name in chosen}


def _damage(
    named: Mapping[str, str],
    catalogue: Catalogue,
    item: int,
    sayable: Mapping[str, tuple[str, ...]],
    rng: np.random.Generator,
) -> dict[str, str]:
    """Each attribute is dropped or swapped with probability .3, half of the time each."""
    kept = {}
    for name, value in named.items():
        if rng.random() >= DAMAGE:
            kept[name] = value
            continue
        wrong = [other for other in sayable[name] if other not in catalogue.attributes[name][item]]
        if wrong and rng.random() < 0.5:
            kept[name] = _pick(wrong, rng)
    return kept


def _say(
    templates: Sequence[Template],
    named: Mapping[str, str],
    words: Mapping[str, tuple[str, ...]],
    rng: np.random.Generator,
) -> tuple[str, dict[str, str]]:
    """A sentence with exactly these attributes, and they; where no template has them together, fewer."""
    named = dict(named)
    while True:
        fitting = [template for template in templates if template.holes == named.keys()]
        if fitting:
            said = {name: _pick(words[value_key(value)], rng) for name, value in named.items()}
            return _pick(fitting, rng).text.format(**said), named
        named.pop(_pick(sorted(named), rng))


def _any_template(voice: Voice, rng: np.random.Generator) -> Template:
    intent = _pick(sorted({template.intent for template in voice.templates}), rng)
    return _pick([template for template in voice.templates if template.intent == intent], rng)


def _fill_freely(
    template: Template, shared: Mapping[str, tuple[str, ...]], voice: Voice, rng: np.random.Generator
) -> str:
    """The template with any values that items share; another template of its intent where one can't be said."""
    sayable = {name: [v for v in shared[name] if value_key(v) in voice.words] for name in template.holes}
    if not all(sayable.values()):
        plain = [t for t in voice.templates if t.intent == template.intent and not t.holes]
        return _pick(plain, rng).text
    said = {name: _pick(voice.words[value_key(_pick(sayable[name], rng))], rng) for name in sorted(sayable)}
    return template.text.format(**said)


def _with_feeling(
    text: str, template: Template, voice: Voice, domain: Domain, rng: np.random.Generator
) -> tuple[str, str]:
    """The sentence, half of the time with a feeling before or after it, and the emotion's name ("" = no label)."""
    emotions = [emotion for emotion in voice.feelings if emotion != NEUTRAL]
    if emotions and rng.random() < FEELING:
        emotion = _pick(emotions, rng)
    else:
        emotion = NEUTRAL if template.intent in (domain.requests or domain.intents) else ""
    if emotion == "" or emotion not in voice.feelings or (emotion == NEUTRAL and rng.random() < 0.5):
        return text, emotion
    parts = [text, _pick(voice.feelings[emotion], rng)]
    return _pick((", ", ". ", "! "), rng).join(parts if rng.random() < 0.5 else parts[::-1]), emotion
