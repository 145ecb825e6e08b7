from tfrec_llm.training import planned_passes


def test_large_data_gets_the_passes_that_were_asked_for():
    assert planned_passes(10, 3, 1000, 190) == (10, 3)
    assert planned_passes(10, 3, 0, 1) == (10, 3)


def test_small_data_gets_more_passes_and_as_much_more_patience():
    assert planned_passes(10, 3, 400, 16) == (25, 8)
    assert planned_passes(4, 2, 1500, 100) == (15, 8)


def test_tiny_data_gets_five_times_as_many():
    assert planned_passes(3, 2, 400, 1) == (15, 10)
