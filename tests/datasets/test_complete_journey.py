import numpy as np
import pandas as pd
import pytest

from keras_infnet.data.ranking_data import RankingData
from keras_infnet.datasets.complete_journey import CompleteJourney

pytestmark = pytest.mark.one_backend
PRODUCT = ("department", "brand", "product_category", "product_type", "package_size")
HOUSEHOLD = (
    *("age", "income", "home_ownership", "marital_status"),
    *("household_size", "household_comp", "kids_count"),
)


def transactions() -> pd.DataFrame:
    """Baskets of four products in weeks 38 to 43; store 1 has enough of them, store 2 has not."""
    rng = np.random.default_rng(0)
    baskets = pd.DataFrame({"basket_id": np.arange(180)})
    baskets["household_id"] = rng.integers(1, 9, 180)
    baskets["week"] = 38 + np.arange(180) // 30
    baskets["store_id"] = np.where(np.arange(180) % 10 == 0, 2, 1)
    start, minutes = pd.Timestamp("2017-09-11"), np.arange(180) * 60 * 24 * 7 // 30
    baskets["transaction_timestamp"] = start + pd.to_timedelta(minutes, unit="min")
    lines = baskets.loc[baskets.index.repeat(4)].reset_index(drop=True)
    # Different products within a basket.
    lines["product_id"] = 100 + rng.integers(0, 5, len(lines)) * 4 + np.tile(np.arange(4), 180)
    lines["quantity"] = rng.integers(0, 4, len(lines))
    return lines.assign(retail_disc=rng.integers(0, 2, len(lines)) * 0.5)


@pytest.fixture
def folder(tmp_path):
    transactions().to_parquet(tmp_path / "transactions.parquet")
    products = pd.DataFrame({"product_id": np.arange(100, 120), "manufacturer_id": 1})
    products = products.assign(**{c: "x" for c in PRODUCT})
    products.loc[0, "package_size"] = None
    products.to_parquet(tmp_path / "products.parquet")
    households = pd.DataFrame({"household_id": [1, 2]}).assign(**{c: "y" for c in HOUSEHOLD})
    households.to_parquet(tmp_path / "demographics.parquet")
    promotions = {"product_id": 100, "store_id": 1, "week": [39, 41], "display_location": "5"}
    promotions = pd.DataFrame({**promotions, "mailer_location": ["A", "0"]})
    promotions.astype({"display_location": "category"}).to_parquet(tmp_path / "promotions.parquet")
    return tmp_path


def drawn_one_by_one(first_week: int, negatives: int, seed: int) -> set:
    """Rows (basket, product, buy), drawn purchase by purchase."""
    lines = transactions().rename(columns={"transaction_timestamp": "time"})
    lines = lines[(lines["quantity"] > 0) & (lines["week"] >= first_week)]
    lines = lines.sort_values(["time", "basket_id", "product_id"], ignore_index=True)
    rng, rows = np.random.default_rng(seed), {}
    bought = set(zip(lines["basket_id"], lines["product_id"], strict=True))
    pools = lines.groupby(["store_id", "week"]).indices
    for line in lines.itertuples():
        pool = pools[line.store_id, line.week]
        if len(pool) < 50:
            continue
        rows[line.basket_id, line.product_id] = 1
        others = [
            j
            for j in rng.choice(pool, 3 * negatives)
            if lines["household_id"][j] != line.household_id
        ]
        for j in others[:negatives]:
            key = (line.basket_id, lines["product_id"][j])
            if key not in bought:
                rows[key] = 0
    return {(*key, buy) for key, buy in rows.items()}


@pytest.mark.parametrize(("negatives", "seed"), [(1, 7), (3, 5)])
def test_rows_are_those_drawn_one_by_one(folder, negatives, seed):
    frame = CompleteJourney(folder, first_week=40, negatives=negatives, seed=seed).frame()
    found = set(zip(frame["basket_id"], frame["product_id"], frame["buy"], strict=True))
    assert len(found) == len(frame) and found == drawn_one_by_one(40, negatives, seed)
    assert frame["store_id"].unique().tolist() == [1] and frame["week"].min() == 40
    assert frame["time"].is_monotonic_increasing


def test_labels_and_side_columns(folder):
    frame = CompleteJourney(folder).frame()
    lines = transactions().set_index(["basket_id", "product_id"])
    for row in frame.sample(60, random_state=0).itertuples():
        line = lines.loc[(row.basket_id, row.product_id)] if row.buy else None
        expected = (0, 0) if line is None else (line["retail_disc"] > 0, line["quantity"] > 1)
        assert (row.deal, row.multi) == expected
        assert (row.hour, row.weekday) == (row.time.hour, row.time.day_of_week)
        assert row.display_location == ("5" if (row.product_id, row.week) == (100, 41) else "none")
        assert pd.isna(row.package_size) == (row.product_id == 100)
        assert (row.age == "y") == (row.household_id in (1, 2))
    assert not {"quantity", "retail_disc", "coupon_disc", "sales_value"} & set(frame.columns)


def test_histories_hold_earlier_baskets_alone(folder):
    journey = CompleteJourney(folder)
    frame, warm = journey.frame(), journey.warm()
    assert warm["week"].max() == 39 and warm["buy"].eq(1).all()
    split = journey.split(frame)
    weeks = [sorted(part["week"].unique()) for part in (split.train, split.validation, split.test)]
    assert weeks == [[40], [41], [42, 43]]
    parts = {"validation": split.validation, "test": split.test}
    data = RankingData(journey.schema(), frame, warm=warm, **parts)
    events = pd.concat([warm, frame[frame["buy"] == 1]])
    for _, row in data.attach(split.test.sample(20, random_state=1)).iterrows():
        of_household = events[events["household_id"] == row["household_id"]]
        earlier = of_household[of_household["time"] < row["time"]]
        assert sorted(row["bought_product_id"]) == sorted(earlier["product_id"].tail(100))


def test_errors_name_what_is_missing(folder):
    with pytest.raises(ValueError, match="first_week is 0; expected an integer of 1 or more"):
        CompleteJourney(folder, first_week=0)
    with pytest.raises(ValueError, match="from week 44 on no store has a week with 50 purchases"):
        CompleteJourney(folder, first_week=44).frame()
    journey = CompleteJourney(folder)
    with pytest.raises(ValueError, match="has 1 weeks; expected more than 1 for validation and 2"):
        journey.split(journey.frame().query("week == 40"))
    transactions().drop(columns="week").to_parquet(folder / "transactions.parquet")
    with pytest.raises(ValueError, match="transactions.parquet: column `week` is missing"):
        journey.frame()
    (folder / "products.parquet").unlink()
    with pytest.raises(
        FileNotFoundError, match=r"has no `products.parquet`; expected the files of"
    ):
        CompleteJourney(folder)
