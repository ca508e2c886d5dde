"""The server: OpenAI's routes and our own verbs over HTTP, for language models and for any artifact.

settings      what is allowed: caps, tokens, hosts, origins          refusal     errors as OpenAI's objects
body          a request's bytes -> checked JSON                      fields      JSON -> checked values
gate          who may ask, and whether there is room                 metrics     what Prometheus reads
wish          what a completion or chat request asks for             reply       the answers, whole and in chunks
worker        one thread a language model: a token a step for all    ticket      one request's texts under way
speech        the life of one such request                           score       likelihood of given texts
items         rows, images, windows <-> JSON                         verbs       sample, fill, surprise
shelf         the models, by name                                    app         routes
listen        sockets, HTTP                                      run         signals, start and end
rank          a page that asks which output is better            store       judgements in a database
"""

from likely.server.settings import Access, Limits

__all__ = ["Access", "Limits"]
