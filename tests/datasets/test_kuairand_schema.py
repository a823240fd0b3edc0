import pytest

from keras_infnet import Age, Ratio
from keras_infnet.datasets.kuairand import KuaiRand
from tests.datasets.tiny_kuairand import FEEDBACKS, write_kuairand, write_statistics


@pytest.mark.parametrize("history", ["exposures", "positives"])
@pytest.mark.parametrize("statistics", [False, True])
def test_every_column_of_the_schema_is_in_the_frame(tmp_path, history, statistics):
    write_kuairand(tmp_path)
    write_statistics(tmp_path)
    data = KuaiRand(tmp_path, history=history, statistics=statistics)
    schema, frame = data.schema(), data.frame()
    wanted = [f.name for f in schema.features] + [t.label for t in schema.tasks]
    wanted += [schema.user_key, schema.time_key]
    for sequence in schema.histories:
        wanted += [*sequence.fields, *sequence.actions, *sequence.log_columns]
        wanted += [sequence.where] if sequence.where else []
    assert set(wanted) <= set(frame.columns)


def test_exposures_carry_actions_ratio_and_groups(tmp_path):
    schema = KuaiRand(write_kuairand(tmp_path)).schema()
    assert schema.task_names == ("click", "like", "long_view")
    assert [task.label for task in schema.tasks] == ["is_click", "is_like", "long_view"]
    (history,) = schema.histories
    assert history.fields == ("video_id", "author_id", "music_id", "tag", "video_duration")
    assert sorted(history.actions) == sorted(FEEDBACKS)
    assert history.max_length == 100
    assert history.quantities == (Ratio("play_time_ms", "duration_ms"), Age())
    groups = {g.name: (g.any_of, g.none_of) for g in history.groups}
    assert groups == {
        "all": ((), ()),
        "click": (("is_click",), ()),
        "like": (("is_like",), ()),
        "long_view": (("long_view",), ()),
        "skip": ((), ("is_click",)),
        "strong": (("is_follow", "is_comment", "is_forward"), ()),
    }


def test_positives_are_one_history_a_behaviour(tmp_path):
    schema = KuaiRand(write_kuairand(tmp_path), history="positives").schema()
    where = {s.name: s.where for s in schema.histories}
    assert where == {
        "clicked": "is_click",
        "liked": "is_like",
        "long_viewed": "long_view",
        "followed": "is_follow",
    }
    assert all(s.actions == () and s.quantities == (Age(),) for s in schema.histories)


def test_all_feedbacks_on_request(tmp_path):
    tasks = "click like follow comment forward hate long_view profile_enter".split()
    schema = KuaiRand(write_kuairand(tmp_path), tasks=tasks).schema()
    assert {task.label for task in schema.tasks} == set(FEEDBACKS)
