"""Alignment: what people, or any function, like better becomes likelier.

preference.py agreement.py ranking.py exchange/    judgements of people: kept, measured, read and written
features.py states.py encoding.py    what is seen in an item, by words or by a model; candidates as items
likelihood.py reward.py reward_report.py           a reward learned from judgements, and how good it is
trial.py      a policy, its start, items and their rewards
objective.py  the sums, as plain functions
ppo.py grpo.py dpo.py reinvent.py best_of.py       the methods, each an algorithm to read from top to bottom
course.py     a run of one of them: watched, stopped in time, resumed
"""
