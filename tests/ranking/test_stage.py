import dataclasses
import json

import numpy as np
import pytest
import tensorflow as tf

from tfrec_llm.config import Component, Config, Ranking, Train
from tfrec_llm.ranking import AGENTS, load, train
from tfrec_llm.ranking.practice import Round
from tfrec_llm.ranking.stage import Judgement, is_better

AGENT = Component("neural_epsilon_greedy", {"learning_rate": 0.005})
PRIOR = 2  # the feature of the rows that is the blend's probability
CONFIG = Config(train=Train(xla="off"), ranking=Ranking(agent=AGENT, epochs=12, batch_size=64, slate=3, explore_top=6))


def scores_of(agent, logged):
    rows, context = logged
    return agent.scores(tf.constant(context), tf.nest.map_structure(tf.constant, rows.candidates)).numpy()


def test_it_learns_is_written_and_read(logged, domain, stage):
    rows, context = logged
    metrics = train(CONFIG, domain, rows, context, PRIOR, stage)
    assert sorted(path.name for path in stage.folder.iterdir()) == ["agent.json", "metrics.json", "weights.npz"]
    assert json.loads((stage.folder / "metrics.json").read_text()) == metrics
    gained, blend = (metrics[f"ranking.replay.{who}.reward"] for who in ("neural_epsilon_greedy", "blend"))
    assert gained["value"] > blend["value"] + 0.1
    assert gained["n"] == 100
    assert metrics["ranking.replay.neural_epsilon_greedy.regret"]["value"] >= 0
    assert list(stage.logs.glob("events*"))
    assert (stage.logs / "projector_config.pbtxt").exists()
    once, again = scores_of(load(CONFIG, stage.folder), logged), scores_of(load(CONFIG, stage.folder), logged)
    np.testing.assert_array_equal(once, again)
    order = np.argsort(-once, axis=1)
    assert (order != np.sort(order, axis=1)).any()


def test_where_nothing_is_to_be_learnt_the_order_of_the_blend_stays(make_rows, domain, stage):
    rows, context = make_rows(count=240, seed=5, taste=0.0)
    config = dataclasses.replace(CONFIG, ranking=dataclasses.replace(CONFIG.ranking, epochs=4))
    metrics = train(config, domain, rows, context, PRIOR, stage)
    agent, blend = (metrics[f"ranking.replay.{who}.ndcg@3"]["value"] for who in ("neural_epsilon_greedy", "blend"))
    assert agent >= blend
    if agent == blend:
        scores = np.where(rows.candidates.allowed, scores_of(load(config, stage.folder), (rows, context)), -1.0)
        expected = np.where(rows.candidates.allowed, rows.candidates.scores, -np.inf)
        np.testing.assert_array_equal(
            np.argsort(-scores, axis=1, kind="stable"), np.argsort(-expected, axis=1, kind="stable")
        )


def test_no_stopping_rows_keep_the_blend(logged, domain, stage):
    rows, context = logged
    config = dataclasses.replace(CONFIG, ranking=dataclasses.replace(CONFIG.ranking, epochs=1))
    assert train(config, domain, rows._replace(stop=np.zeros(len(rows.stop), bool)), context, PRIOR, stage) == {}
    scores = np.where(rows.candidates.allowed, scores_of(load(config, stage.folder), logged), -1.0)
    assert (np.diff(np.where(rows.candidates.allowed, scores, np.nan)[0][rows.candidates.allowed[0]]) <= 0).all()


def test_a_gain_within_its_error_is_luck():
    then = Judgement(np.array([0.5, 0.5, 0.5, 0.5]), np.zeros(4))
    lucky = Judgement(np.array([1.0, 0.5, 0.5, 0.1]), np.zeros(4))  # mean gain .025, standard error .185
    sure = Judgement(np.array([0.6, 0.7, 0.6, 0.5]), np.zeros(4))  # mean gain .1, standard error .041
    assert is_better(lucky, then)
    assert not is_better(lucky, then, errors=1.0)
    assert is_better(sure, then, errors=1.0)
    assert not is_better(then, then)


@pytest.mark.parametrize("value", [np.nan, np.inf, 2.0])
def test_bad_rewards_are_refused_before_training(logged, domain, stage, value):
    rows, context = logged
    reward = rows.reward.copy()
    reward[7, 3] = value
    with pytest.raises(ValueError, match=r"ranking rows: expected finite rewards .* at \(7, 3\)"):
        train(CONFIG, domain, rows._replace(reward=reward), context, PRIOR, stage)


def test_where_nothing_is_worth_anything_hits_count(logged, domain, stage, caplog):
    rows, context = logged
    figures = train(CONFIG, domain, rows._replace(reward=np.zeros_like(rows.reward)), context, PRIOR, stage)
    assert "no event of the log is worth anything" in caplog.text
    assert figures["ranking.replay.blend.reward"]["value"] > 0


def test_rows_whose_answer_is_no_candidate_are_refused(logged, domain, stage):
    rows, context = logged
    with pytest.raises(ValueError, match="is a candidate, got none"):
        train(CONFIG, domain, rows._replace(target=np.zeros_like(rows.target)), context, PRIOR, stage)


def test_a_context_that_does_not_fit_is_refused(logged, domain, stage):
    rows, context = logged
    for wrong in (context[:5], np.full_like(context, np.nan)):
        with pytest.raises(ValueError, match="finite context"):
            train(CONFIG, domain, rows, wrong, PRIOR, stage)


def test_the_folder_of_another_agent_is_refused(tmp_path):
    (tmp_path / "agent.json").write_text('{"name": "dqn"}')
    with pytest.raises(ValueError, match="got 'dqn'; build it again with: make train STAGE=ranking"):
        load(CONFIG, tmp_path)
    with pytest.raises(ValueError, match=r"agent\.json"):
        load(CONFIG, tmp_path / "nothing")


def test_xla_is_chosen_as_configured_or_measured(logged, monkeypatch):
    from tfrec_llm.ranking import xla

    rows, _ = logged
    times = {False: 3.0, True: 1.0}
    monkeypatch.setattr(xla, "_seconds", lambda agent, rows, showing, jit_compile: times[jit_compile])
    choose = lambda setting, epochs: xla.choose_xla(lambda: None, rows, None, Train(xla=setting), epochs)  # noqa: E731
    assert choose("on", 1)
    assert not choose("off", 1)
    assert not choose("auto", 2)  # 6 s in all: no compilation pays
    assert choose("auto", 20)
    times[True] = 4.0
    assert not choose("auto", 20)


@pytest.mark.parametrize("name", sorted(AGENTS))
def test_every_agent_goes_through_the_stage(name, logged, domain, stage):
    rows, context = logged
    ranking = dataclasses.replace(CONFIG.ranking, agent=Component(name), epochs=1)
    config = dataclasses.replace(CONFIG, ranking=ranking)
    metrics = train(config, domain, rows, context, PRIOR, stage)
    assert metrics[f"ranking.replay.{name}.reward"]["value"] >= 0
    assert np.isfinite(scores_of(load(config, stage.folder), logged)).all()


def test_practice_after_the_replay_leaves_greedy_answers_and_curves(logged, domain, stage, monkeypatch):
    rows, context = logged
    rounds = [Round(0.5, 0.7, {"engagement": 1.0}), Round(0.6, 0.6, {"engagement": 1.0})]
    asked = []

    def practise(agent, practice, settings, seed, keeps):
        asked.append((practice, keeps()))
        yield rounds[0]
        bias = agent.network.last.bias  # a shift of all candidates alike costs nothing
        bias.assign(bias + 1.0)
        asked.append((practice, keeps()))
        agent.network.last.kernel.assign(-10 * np.sign(agent.network.last.kernel) - 1)
        asked.append((practice, keeps()))
        yield rounds[1]

    monkeypatch.setattr("tfrec_llm.ranking.stage.practise", practise)
    train(CONFIG, domain, rows, context, PRIOR, stage, practice="somebody")
    assert asked == [("somebody", True), ("somebody", True), ("somebody", False)]
