"""Strange rows, and the reason why each is strange: surprise in nats, column by column."""

import numpy as np
import polars as pl

import likely


def main() -> None:
    people = likely.data.adult()[:3000].drop("fnlwgt", "education", "capital-gain", "capital-loss", "native-country")
    census = likely.fit(people[:2500], progress=False)

    new = people[2500:].with_columns(
        age=pl.when(pl.int_range(pl.len()) == 7).then(170).otherwise("age"),  # a slip of the finger
        relationship=pl.when(pl.int_range(pl.len()) == 8).then(pl.lit("Husband")).otherwise("relationship"),
        sex=pl.when(pl.int_range(pl.len()) == 8).then(pl.lit("Female")).otherwise("sex"),  # each is common, both never
    )
    total, each = census.surprise(new), census.surprise(new, each=True)

    print("The five strangest of 500 rows:")
    for row in np.argsort(-total)[:5].tolist():
        name = max(each, key=lambda name: each[name][row])
        print(f"  row {row:3}  {total[row]:4.1f} nats, of which {name} = {new[name][row]!r}: {each[name][row]:.1f}")

    both = each["sex"][8] + each["relationship"][8]
    place = int((total > total[8]).sum()) + 1
    print(f"\nRow 8, a female husband: place {place} of 500; sex and relationship together {both:.1f} nats.")


if __name__ == "__main__":
    main()
