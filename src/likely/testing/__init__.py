"""The contracts as checks: hold your own codec, family or policy to them.

    from likely.testing import check_codec, check_family, check_policy

    def test_mine() -> None:
        check_codec(MyCodec(), items)
        check_family(MyFamily, Cells((2, 3, 2)), Batch(codes))

Each check runs the laws that everything else in likely relies on and raises AssertionError with one sentence that says
which law is broken. They are deterministic: a check that passes once passes always on the same machine.

    codec     encode, make, partial, check, state and the rest of a codec       policy    rollout, retrace, score
    family    drawing, storing, likelihood, completion                          law       what they share: sums, counts
"""

from likely.testing.codec import check_codec
from likely.testing.family import check_family, learn
from likely.testing.law import enumerate_cells, enumerate_tokens
from likely.testing.policy import check_policy

__all__ = ["check_codec", "check_family", "check_policy", "enumerate_cells", "enumerate_tokens", "learn"]
