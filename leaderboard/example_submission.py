"""A submission in a few lines: fit anything on each fold, write id and prediction.

    python leaderboard/example_submission.py my-predictions.parquet
    etchmark submit my-predictions.parquet superalloy-hardness \
        --name my-random-forest --track composition --protocol leave-paper-out
"""

from __future__ import annotations

import sys

import pandas as pd
from sklearn.ensemble import RandomForestRegressor

import etchmark


def main(path: str) -> None:
    table = etchmark.load_benchmark("superalloy-hardness").split("samples").to_pandas()
    assert isinstance(table, pd.DataFrame)  # noqa: S101 (for the type checker)
    features = [name for name in table.columns if name.endswith("_at")]
    parts = []
    for fold in sorted(table["fold_leave_paper_out"].unique()):
        held_out = table["fold_leave_paper_out"] == fold
        model = RandomForestRegressor(n_estimators=50, min_samples_leaf=5, random_state=0)
        model.fit(table.loc[~held_out, features], table.loc[~held_out, "hardness_hv"])
        predicted = model.predict(table.loc[held_out, features])
        parts.append(pd.DataFrame({"id": table.loc[held_out, "id"], "prediction": predicted}))
    pd.concat(parts).to_parquet(path, index=False)
    print(f"wrote {path}")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "my-predictions.parquet")
