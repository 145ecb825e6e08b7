from tfrec_llm.training import planned_passes


def test_large_data_gets_the_passes_that_were_asked_for():
    assert planned_passes(10, 3, 1000, 190) == (10, 3)
    assert planned_passes(10, 3, 0, 1) == (10, 3)


def test_small_data_gets_more_passes_and_as_much_more_patience():
    assert planned_passes(10, 3, 1000, 16) == (63, 19)
    passes, patience = planned_passes(4, 2, 1500, 30)
    assert (passes, patience) == (50, 25)
    assert passes * 30 >= 1500
