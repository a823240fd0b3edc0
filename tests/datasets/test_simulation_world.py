import re

import pytest

from keras_infnet.datasets.simulation_world import SimulationSettings


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"days": 0}, "SimulationSettings: days is 0; expected 1 to 31."),
        ({"days": 32}, "days is 32; expected 1 to 31."),
        ({"mood": -0.1}, "mood is -0.1; expected a finite number, 0 or more."),
        ({"taste": float("nan")}, "taste is nan; expected a finite number, 0 or more."),
        ({"topics": 0}, "topics is 0; expected 1 or more."),
        ({"topic_half_life": 0}, "topic_half_life is 0; expected above 0."),
        ({"random_share": 0}, "random_share is 0; expected above 0, at most 0.2."),
        ({"topic_share": 0.9}, "repeat_share is 0.06; expected at most 1 together with"),
    ],
)
def test_values_out_of_range(change, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        SimulationSettings(**change)
