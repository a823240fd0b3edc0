"""Tables of what INFNet does, against loops and the model's own weights."""

import numpy as np
import pytest

from keras_infnet import INFNet
from keras_infnet.explain import reading, task_attention
from keras_infnet.explain.flow import flow_table
from keras_infnet.explain.reading import InfnetReader, field_norm_sums
from keras_infnet.models import SharedBottom
from keras_infnet.models.infnet import Form
from tests import tiny

pytestmark = pytest.mark.one_backend

RNG = np.random.default_rng(1)
SIZES = {"dim": 4, "head_dim": 6}


def made(history, build=INFNet, **arguments):
    model = build(tiny.schema(history), **{**SIZES, **arguments})
    tiny.randomise(model)
    return model, tiny.inputs(model.schema)


@pytest.fixture(scope="module")
def members():
    """Two members on several histories, whose kinds of events are interleaved in the schema."""
    model, x = made("mixed", members=2)
    return model, x, InfnetReader(model).tables(x)


def test_attention_is_the_mean_over_rows_whatever_the_batch(members, monkeypatch):
    model, x, tables = members
    monkeypatch.setattr(reading, "_BATCH", 4)
    batched = InfnetReader(model).attention(x)
    np.testing.assert_allclose(batched, tables["attention"], atol=1e-6)
    for member in range(2):
        maps = model.attention_weights(x, member=member)
        for memory in ("fields", "tasks"):
            for group, weights in maps[memory].items():
                found = batched[memory].loc[member, 0, group]
                np.testing.assert_allclose(found, np.mean(weights, 0), atol=1e-6)


def test_a_group_that_does_not_read_a_memory_has_no_weight(members):
    attention = members[2]["attention"]
    assert attention["fields"].xs("field_proxies", level="group").isna().all(axis=None)
    assert attention["tasks"].xs("tasks", level="group").isna().all(axis=None)


def test_columns_of_histories_are_theirs(members):
    model, x, _ = members
    alone = {name: values[:1] for name, values in x.items()}
    alone |= {name: np.zeros_like(alone[name]) for name in ("clicked", "searched", "liked")}
    alone["liked"][0, -1] = 1
    weights = task_attention(model, alone)[["clicked", "searched", "liked"]]
    read = weights.columns[(weights > 0).all()]
    assert list(read) == [("liked", 0)]
    np.testing.assert_allclose(weights["liked", 0], 1, atol=1e-6)


def test_real_tasks_are_averaged_over_members_and_shared_tokens_are_not(members):
    model, x, tables = members
    table = task_attention(model, x)
    shared = [f"member {m}, shared {i}" for m in range(2) for i in range(2)]
    assert list(table.index) == ["click", "like", "long_view", *shared]
    expected = [model.attention_weights(x, member=m)["fields"]["tasks"] for m in range(2)]
    found = table["fields"].loc[list(model.schema.task_names)]
    np.testing.assert_allclose(found, np.mean(expected, (0, 1)), atol=1e-6)


def test_events_weigh_one_over_their_number(members):
    model, x, tables = members
    found = tables["sequence_proxies"]
    of_clicked = [f"clicked: {name}" for name in ("all", "hour", "day", "newest")]
    assert list(found.index) == [*of_clicked, "liked", "searched"]
    expected = np.zeros(3)
    for row in x["searched"]:
        there = row[:, 0] != 0
        expected += there / max(there.sum(), 1) / len(x["searched"])
    np.testing.assert_allclose(found.loc["searched", "searched"].loc[[2, 1, 0]], expected)
    assert not found.loc["searched", "clicked"].any()
    column, expected = model.schema.history_columns("clicked")["#groups"].start, np.zeros(2)
    for row in x["clicked"][:, -2:]:
        there = (row[:, 0] != 0) & (row[:, column] >> 3 & 1 == 1)
        expected += there / max(there.sum(), 1) / len(x["clicked"])
    of_newest = found.loc["clicked: newest", "clicked"].loc[[3, 2, 1, 0]]
    np.testing.assert_allclose(of_newest, [0, 0, *expected])


def test_shares_of_fields_are_norms_of_what_they_give(members):
    fields, dim, proxies = 5, 4, 3
    tokens = RNG.normal(size=(7, fields, dim))
    kernel = RNG.normal(size=(fields * dim, proxies * dim))
    expected = np.zeros((proxies, fields))
    for token in tokens:
        for f in range(fields):
            alone = np.zeros_like(token)
            alone[f] = token[f]
            given = (alone.reshape(-1) @ kernel).reshape(proxies, dim)
            expected[:, f] += np.linalg.norm(given, axis=1)
    np.testing.assert_allclose(field_norm_sums(tokens, kernel), expected)
    table = members[2]["field_proxies"]
    assert table.shape == (2 * 4, len(members[0].schema.field_names))
    np.testing.assert_allclose(table.sum(axis=1), 1, atol=1e-6)


# What a token is made of, and its columns in the table of heads.
SILENT = {
    "field_proxies": ("field_proxies",),
    "sequence_proxies": ("sequence_proxies",),
    "task_proxies": ("task_proxies", "task_proxies_of_candidate"),
    "candidate_proxy": ("candidate_proxy",),
    "own_proxies": ("own_proxies", "own_proxies_of_candidate"),
}


@pytest.mark.parametrize("group", SILENT)
def test_a_token_of_zeros_has_no_share_in_its_head(group):
    # Crosses read the fields, means of groups and the candidate as they are.
    form = Form(cross_rank=None)
    model, x = made("exposures", num_blocks=0, form=form, num_own_proxies=2)
    for name in SILENT[group]:
        for weight in model.get_layer(name).weights:
            weight.assign(np.zeros(weight.shape))
    heads = InfnetReader(model).tables(x)["heads"].loc[0, "click"]
    np.testing.assert_allclose(heads.sum(), 1, atol=1e-6)
    assert (heads[group] == 0).all()
    assert (heads.drop(group, level="group") > 0).all()


def test_crosses_carry_fields_groups_and_the_candidate_to_the_heads():
    model, x = made("exposures", num_blocks=0)
    x = {name: np.array(value) for name, value in x.items()}
    network, schema = model.member(0), model.schema
    for name in ("field_proxies", "candidate_proxy"):
        for weight in network.get_layer(name).weights:
            weight.assign(np.zeros(weight.shape))
    for name in ("cross_0", "cross_1"):
        for weight in network.get_layer(name).weights:
            weight.assign(np.zeros(weight.shape))
    # Without crosses `x_2` is `x_0`, whose first places are the fields.
    heads = InfnetReader(model).tables(x)["heads"].loc[0, "click"]
    np.testing.assert_allclose(heads.sum(), 1, atol=1e-6)
    reads = model.reading({"fields": network.get_layer("field_proxies").input})(x)
    fields = np.array(reads["fields"], "float64").reshape(len(x["categorical"]), -1, 4)
    inputs = np.array(model.reading({"head": network.get_layer("click_head").input})(x)["head"])
    kernel = np.array(network.get_layer("click_head").hidden.kernel)
    start = inputs.shape[1] - network.get_layer("cross_0").projection.kernel.shape[1]
    norms = {}
    for f, name in enumerate(schema.field_names):
        of_field = kernel[start + 4 * f : start + 4 * (f + 1)]
        norms[name] = np.linalg.norm(fields[:, f] @ of_field, axis=1)
    shares = heads["fields"] / heads["fields"].sum()
    assert list(heads["fields"].index) == list(schema.field_names) and (shares > 0).all()
    # Rows weigh alike but for their sums: of one row the shares are those of the norms.
    one = {name: value[:1] for name, value in x.items()}
    found = InfnetReader(model).tables(one)["heads"].loc[0, "click"]["fields"]
    expected = np.array([norms[name][0] for name in schema.field_names])
    np.testing.assert_allclose(found / found.sum(), expected / expected.sum(), rtol=1e-4)


@pytest.fixture(scope="module")
def adaptive():
    """Own proxies and attention in place of means, on several histories."""
    model, x = made("mixed", num_own_proxies=2, form=Form(pooling="attention"))
    return model, x, InfnetReader(model).tables(x)


def test_what_tasks_combine_is_the_mean_weight_of_each_proxy(adaptive):
    model, x, tables = adaptive
    layer = model.get_layer("proxy_combination")
    tasks, own, shared = map(np.array, model.reading(list(layer.input))(x))
    w_q, w_k = layer.get_weights()
    expected = np.zeros((3, 4))
    for b, i in np.ndindex(len(x["categorical"]), 3):
        proxies = np.concatenate([own[b, 2 * i : 2 * i + 2], shared[b]])
        scores = np.exp(proxies @ w_k @ (tasks[b, i] @ w_q) / 2)
        expected[i] += scores / scores.sum() / len(tasks)
    found = tables["combination"].loc[0]
    assert list(found.columns) == ["own 0", "own 1", "shared 0", "shared 1"]
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert list(found.index) == ["click", "like", "long_view"]


def test_attention_on_events_is_that_of_their_group(adaptive):
    _, x, tables = adaptive
    found = tables["attention_proxies"].loc[0]
    clicked = [f"clicked: {group} (attention)" for group in ("all", "hour", "day", "newest")]
    names = [*clicked, "liked (attention)", "searched (attention)"]
    assert list(found.index) == names
    of_all = {"clicked": clicked[0], "liked": names[4], "searched": names[5]}
    for name, group in of_all.items():
        of_group = found.loc[group]
        with_events = (x[name][:, :, 0] != 0).any(axis=1).mean()
        assert of_group[name].sum() == pytest.approx(with_events, abs=1e-5)
        assert of_group.drop(name, level=0).sum() == 0
    heads = tables["heads"].loc[0, "click"]
    np.testing.assert_allclose(heads.sum(), 1, atol=1e-6)
    assert (heads["sequence_proxies"].loc[names] > 0).all()


def test_own_proxies_flow_to_their_own_head_alone(adaptive):
    model, _, tables = adaptive
    flow = flow_table(model.schema, tables, 0)
    to_heads = flow[flow["kind"] == "head"]
    np.testing.assert_allclose(to_heads.groupby("target")["width"].sum(), 1, atol=1e-5)
    own = to_heads[to_heads["source"].str.startswith("own proxies")]
    tasks = model.schema.task_names
    assert set(zip(own["source"], own["target"], strict=True)) == {
        (f"own proxies of {task}", task) for task in tasks
    }
    read = flow[(flow["kind"] == "attention") & flow["target"].isin(own["source"])]
    fields = read[read["source"].str.endswith(" fields")].groupby("target")["width"].sum()
    np.testing.assert_allclose(fields.loc[list(own["source"])], 1, atol=1e-5)


def test_gates_are_what_the_next_block_multiplies_by():
    model, x = made("exposures", INFNet.paper_v1)
    table = InfnetReader(model).tables(x)["gates"]
    names = [(0, 0, "fields"), (0, 0, "history"), (0, 0, "tasks"), (0, 1, "tasks")]
    assert list(table.index) == names
    calls = model.attention_calls(1, 0)
    reads = model.reading({name: calls[name][1]["memory_gate"] for name in ("fields", "history")})
    for tokens, gates in reads(x).items():
        np.testing.assert_allclose(table.loc[0, 0, tokens], np.mean(gates, (0, 1)), atol=1e-6)


def test_heads_of_the_paper_read_the_task_token_alone():
    model, x = made("none", INFNet.paper_v1)
    tables = InfnetReader(model).tables(x)
    assert list(tables["heads"].columns) == [("tasks", "task token")]
    np.testing.assert_allclose(tables["heads"], 1, atol=1e-6)
    assert not len(tables["sequence_proxies"])


FORMS = {
    "second version": {"build": INFNet.paper_v2, "num_blocks": 2, "num_field_proxies": 3},
    "interpolated": {"num_blocks": 2, "form": Form(gate="interpolate", own_group=True)},
    "no task tokens": {"task_tokens": False, "num_task_proxies": 0},
    "one flow": {"heterogeneous_flow": False},
    "own proxies in the paper's form": {"build": INFNet.paper_v1, "num_own_proxies": 1},
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_can_be_read(form):
    model, x = made("exposures", **FORMS[form])
    tables = InfnetReader(model).tables(x)
    np.testing.assert_allclose(tables["heads"].sum(axis=1), 1, atol=1e-6)
    if form == "one flow":
        assert not len(tables["attention"]) and len(tables["gates"]) == 1
        return
    sums = tables["attention"]["fields"].dropna().sum(axis=1)
    assert len(sums) and np.allclose(sums, 1, atol=1e-5)
    low, high = {"second version": (1, 2)}.get(form, (0, 1))
    assert ((tables["gates"] > low) & (tables["gates"] < high)).all(axis=None)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lambda s: SharedBottom(s, dim=4), "SharedBottom has no task tokens"),
        (lambda s: INFNet(s, dim=4, num_blocks=0), "has no heterogeneous flow that could be read"),
        (
            lambda s: INFNet(s, dim=4, task_tokens=False, num_task_proxies=0),
            "the model has no task tokens, real or shared",
        ),
    ],
)
def test_a_model_without_attention_is_an_error_that_says_why(model, message):
    schema = tiny.schema("none")
    with pytest.raises(ValueError, match=f"task_attention: .*{message}"):
        task_attention(model(schema), tiny.inputs(schema))


def test_a_block_that_is_not_there_is_an_error(members):
    with pytest.raises(ValueError, match="There is no block 1; the model has 1"):
        task_attention(members[0], members[1], block=1)
