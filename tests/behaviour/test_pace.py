"""The learning rate by hand."""

import time

import numpy as np

from tfrec_llm.behaviour.pace import Pace


def test_warm_up_then_half_a_cosine():
    pace = Pace(2.0, steps_per_pass=11, passes=10, warm_up=10)  # from step 10 to step 110
    np.testing.assert_allclose([pace(s) for s in (0, 4, 10, 35, 60, 110, 500)], _expected(), atol=1e-6)


def _expected():
    quarter = 1 + np.cos(np.pi / 4)
    return [2 / 11, 10 / 11, 2, quarter, 1, 0, 0]


def test_a_short_plan_has_a_short_warm_up():
    pace = Pace(1.0, steps_per_pass=10, passes=2, warm_up=100)  # 2 of 20 steps
    assert float(pace(2)) == 1


def clock(monkeypatch, *moments):
    times = iter(moments)
    monkeypatch.setattr(time, "monotonic", lambda: next(times))


def test_a_slow_machine_ends_the_cosine_earlier(monkeypatch):
    clock(monkeypatch, 0.0, 120.0)
    pace = Pace(1.0, steps_per_pass=10, passes=8)
    pace.replan(10, minutes=7)  # a pass takes two minutes: five left make 2.5 passes, and `fit` ends with the third
    assert float(pace.planned) == 40
    assert float(pace(40)) == 0


def test_a_fast_machine_keeps_the_plan(monkeypatch):
    clock(monkeypatch, 0.0, 1.0)
    pace = Pace(1.0, steps_per_pass=10, passes=8)
    pace.replan(10, minutes=7)
    assert float(pace.planned) == 80


def test_a_training_that_goes_on_remembers_its_time(monkeypatch):
    clock(monkeypatch, 0.0, 1000.0, 1000.0)
    pace = Pace(1.0, steps_per_pass=10, passes=8)
    pace.go_on(2, seconds=240.0, minutes=9)  # two passes of two minutes were made: five minutes are left
    assert float(pace.planned) == 50


def test_nothing_to_go_on_from(monkeypatch):
    clock(monkeypatch, 0.0)
    pace = Pace(1.0, steps_per_pass=10, passes=8)
    pace.go_on(0, seconds=0.0, minutes=9)
    assert float(pace.planned) == 80


def test_no_limit_no_replanning():
    pace = Pace(1.0, steps_per_pass=10, passes=8)
    pace.replan(10, minutes=0)
    assert float(pace.planned) == 80


def test_config_round_trip():
    pace = Pace(0.5, steps_per_pass=7, passes=3, warm_up=9)
    assert Pace.from_config(pace.get_config()).get_config() == pace.get_config()
