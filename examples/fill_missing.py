"""Missing values completed from all that is known of a row: hide values that we know, fill them in, compare."""

import numpy as np
import polars as pl

import likely


def main() -> None:
    people = likely.data.adult()[:3000].drop("fnlwgt", "education")
    census = likely.fit(people[:2500], progress=False)

    known = people[2500:]
    hidden = pl.Series(np.random.default_rng(0).random(len(known)) < 0.5)
    holes = known.with_columns(
        pl.when(hidden).then(None).otherwise(pl.col(name)).alias(name) for name in ("relationship", "age")
    )
    whole = census.fill(holes, seed=0)

    right = (whole["relationship"] == known["relationship"]).filter(hidden).mean()
    guess = (known["relationship"] == known["relationship"].mode()[0]).filter(hidden).mean()
    print(f"relationship: {right:.0%} of the hidden values were drawn right; always the commonest: {guess:.0%}")
    error = (whole["age"] - known["age"]).abs().filter(hidden).mean()
    shuffled = (known["age"] - known["age"].shuffle(seed=0)).abs().filter(hidden).mean()
    print(f"age: {error:.1f} years off on average; another person's age: {shuffled:.1f}")

    print("\nA fill is a draw, not a best guess: the same hole filled six times shows what is possible.")
    row = holes.filter(hidden)[0]
    print([census.fill(row, seed=seed)["age"][0] for seed in range(6)])


if __name__ == "__main__":
    main()
