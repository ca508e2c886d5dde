"""Synthetic patients that may be shown around: learn real ones, make new ones, ask whether they are safe to share."""

import likely

COLUMNS = ["age", "sex", "dzgroup", "num.co", "meanbp", "temp", "hospdead"]


def main() -> None:
    real = likely.data.support2()[COLUMNS][:1500]
    patients = likely.fit(real, target="hospdead", constraints=["age >= 18"], progress=False)
    made = patients.sample(1500, seed=0)

    print("Who dies in hospital, by disease:")
    for name in ("Coma", "ARF/MOSF w/Sepsis", "CHF"):
        rates = [table.filter(table["dzgroup"] == name)["hospdead"].mean() for table in (real, made)]
        print(f"  {name:20} real {rates[0]:.0%}   made {rates[1]:.0%}")

    print("\nWomen over 80 in coma, as many as you like:")
    print(patients.sample(5, given={"sex": "female", "age": (80, None), "dzgroup": "Coma"}, seed=0))

    print(f"\n{patients.report()}")


if __name__ == "__main__":
    main()
