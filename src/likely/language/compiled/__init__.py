"""One pass of a decoder over a few tokens as one call of C: half the time of a token is otherwise spent on the way.

build     the library, compiled on first use, or why not
step      the pass; step.c: in C; product.h: packed products; team.h: workers
many      what stands between torch's products where prompts are read
"""
