"""Domains: what the shipped ones promise, and what the strict reader refuses."""

import itertools
from collections import Counter

import pytest

from tfrec_llm.config import ConfigError
from tfrec_llm.data import domain_names, load_domain
from tfrec_llm.data.domains import LANGUAGES, holes
from tfrec_llm.types import Objectives, SessionHabits

SMALL = """
name = "books"
events = ["buy", "read"]
intents = ["find", "thanks"]
requests = ["find"]
emotions = ["neutral", "joy"]
utterance_attributes = ["genre"]
rewards = { buy = 1 }
satisfaction = { read = -0.5 }
[templates.en]
find = ["find me a book", "a book please", "a {genre} book"]
[words.en]
crime = ["crime", "detective"]
[feelings.en]
joy = ["I am happy", "what fun"]
"""


def write(tmp_path, text):
    path = tmp_path / "own.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture(params=domain_names())
def domain(request):
    return load_domain(request.param)


def test_both_domains_are_there():
    assert domain_names() == ("retail", "video")
    assert (load_domain("video").step, load_domain("video").repeat) == ("event", False)
    assert (load_domain("retail").step, load_domain("retail").repeat) == ("basket", True)


def test_the_weights_of_every_event_are_in_range(domain):
    assert tuple(domain.rewards) == tuple(domain.satisfaction) == domain.events
    assert domain.unnamed in domain.events
    assert all(0 <= value <= 1 for value in domain.rewards.values())
    assert all(-1 <= value <= 1 for value in domain.satisfaction.values())
    assert max(domain.rewards.values()) == 1


def test_every_intent_has_a_dozen_templates_in_each_language(domain):
    for language in LANGUAGES:
        assert set(domain.templates[language]) == set(domain.intents)
        assert min(map(len, domain.templates[language].values())) >= 12


def test_every_emotion_has_phrases_and_every_value_is_said_in_both_languages(domain):
    assert set(domain.words["en"]) == set(domain.words["zh"])
    for language in LANGUAGES:
        assert set(domain.feelings[language]) == set(domain.emotions)


def test_no_phrase_stands_in_two_lists_so_that_training_and_test_can_be_kept_apart(domain):
    for kind in (domain.templates, domain.words, domain.feelings):
        counts = Counter(
            phrase.casefold() for language in kind.values() for phrase in itertools.chain(*language.values())
        )
        assert [phrase for phrase, count in counts.items() if count > 1] == []


def test_prices_can_be_named_where_items_have_them():
    for language in LANGUAGES:
        assert set(load_domain("retail").prices[language]) == {"low", "high", "below", "above", "between"}


def test_requests_have_templates_for_every_attribute(domain):
    for language in LANGUAGES:
        templates = [t for intent in domain.requests for t in domain.templates[language][intent]]
        singles = {frozenset([name]) for name in domain.utterance_attributes}
        assert singles | {frozenset()} <= {holes(template) for template in templates}


def test_nothing_that_gives_an_item_away_can_be_named(domain):
    assert not {"title", "director", "cast", "item_id", "text", "type"} & set(domain.utterance_attributes)
    assert not domain.use_attributes


def test_a_users_own_file(tmp_path):
    domain = load_domain(write(tmp_path, SMALL))
    assert domain.rewards == {"buy": 1.0, "read": 0.0}
    assert domain.satisfaction == {"buy": 0.0, "read": -0.5}
    assert (domain.step, domain.repeat, domain.deny, domain.attributes) == ("event", False, (), ())
    assert domain.templates["en"]["find"] == ("find me a book", "a book please", "a {genre} book")


def test_habits_and_objectives_have_defaults_and_are_read(tmp_path):
    assert load_domain(write(tmp_path, SMALL)).session == SessionHabits()
    tables = '[session]\ndrift = 0.3\ncategory = "genre"\n'
    tables += "[objectives]\nengagement = 1\ndiversity = 0\nfairness = 0\nsafety = 0\n"
    own = load_domain(write(tmp_path, SMALL.replace("[words.en]", tables + "[words.en]")))
    assert own.session == SessionHabits(drift=0.3, category="genre")
    assert own.objectives == Objectives(1.0, 0.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[words.en]", "[session]\ndrift = 1.5\n[words.en]", r"session.drift: expected a number in \[0, 1\]"),
        ("[words.en]", "[session]\nboredom = nan\n[words.en]", "boredom: expected a number, got nan"),
        ("[words.en]", "[session]\nattention = 0\n[words.en]", "positive and attention above 0"),
        ("[words.en]", "[session]\nrequests = 0\n[words.en]", "session.requests"),
        ("[words.en]", "[session]\nmood = 1\n[words.en]", "unknown key 'mood'"),
        ("[words.en]", "[objectives]\nsafety = 0.5\n[words.en]", "weights that sum to 1"),
        ("[words.en]", "[objectives]\nharm = 0.5\n[words.en]", "objectives.harm"),
        ('name = "books"', 'name = "books"\ncolour = 1', "unknown key 'colour'"),
        ('name = "books"', "", "'name' is missing"),
        ('name = "books"', 'name = "books"\nrepeat = "no"', "expected bool"),
        ('name = "books"', 'name = "books"\nstep = "hour"', "expected one of event, basket"),
        ('events = ["buy", "read"]', "", "'events' is missing"),
        ('events = ["buy", "read"]', 'events = ["buy", "read", "buy"]', "buy"),
        ('intents = ["find", "thanks"]\nrequests = ["find"]', "intents = []", "at least one name"),
        ("buy = 1", "borrow = 1", "rewards.*borrow"),
        ("buy = 1", "buy = 1.5", r"rewards.buy: expected a number in \[0, 1\]"),
        ("buy = 1", "buy = nan", "rewards.buy"),
        ("read = -0.5", "read = -1.5", r"satisfaction.read: expected a number in \[-1, 1\]"),
        ("read = -0.5", "write = 0.5", "satisfaction.*write"),
        ("a {genre} book", "a {colour} book", "names .'colour'.*utterance_attributes"),
        ("a {genre} book", "a {} book", "names"),
        ("a {genre} book", "a {genre book", "holes, got"),
        ('"find me a book", "a book please", ', '"one {genre}", ', "without a hole"),
        ('["find me a book", "a book please", "a {genre} book"]', '["a book"]', "at least 2 phrases"),
        ('find = ["find me', 'seek = ["find me', "seek"),
        ("[words.en]", "[words.fr]", "languages"),
        ("joy = [", "grief = [", "grief"),
        ('"neutral", "joy"', '"joy"', "'neutral' among them"),
        ('requests = ["find"]', 'requests = ["seek"]', "requests.*seek"),
        ("[words.en]", '[prices.en]\nbelow = ["under {amount}", "under"]\n[words.en]', "prices.en.below.*{amount}"),
        ("[words.en]", '[prices.en]\nfree = ["gratis", "free"]\n[words.en]', "kinds of price phrases"),
        ('name = "books"', 'name = "books"\nunnamed = "sell"', "unnamed: .*sell"),
        ("[words.en]", '[intent_map.snips]\nPlayMusic = "sing"\n[words.en]', "intent_map.snips.*sing"),
        ('name = "books"', 'name = "books', "expected TOML"),
    ],
)
def test_the_reader_is_strict(tmp_path, old, new, message):
    assert old in SMALL
    path = write(tmp_path, SMALL.replace(old, new))
    with pytest.raises(ConfigError, match=message) as caught:
        load_domain(path)
    assert str(path) in str(caught.value)


def test_an_unknown_domain_and_a_wrong_encoding(tmp_path):
    with pytest.raises(ConfigError, match="vidoe: no such domain; expected one of retail, video"):
        load_domain("vidoe")
    path = tmp_path / "own.toml"
    path.write_bytes(SMALL.replace("books", "b\u00fccher").encode("latin-1"))
    with pytest.raises(ConfigError, match="UTF-8"):
        load_domain(path)
