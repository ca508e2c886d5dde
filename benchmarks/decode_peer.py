"""llama.cpp as a peer of decode_bench.py: a process of its own, since it comes with an environment of its own.

    PYTHON benchmarks/decode_peer.py MODEL.gguf

PYTHON has the package xllamacpp. Reads lines of JSON, {"prompts": [[id, ...], ...], "new": tokens}, and answers each
with {"seconds": CPU-seconds of this process, all its threads together, "texts": how many, "tokens": how many in each}.
One thread computes; nothing of a prompt is kept for the next.
"""

import json
import sys
import time

import xllamacpp


def main() -> None:
    """Serve until the input ends."""
    parameters = xllamacpp.CommonParams()
    parameters.model.path = sys.argv[1]
    parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = 1
    parameters.cpuparams.poll = parameters.cpuparams_batch.poll = 0
    parameters.n_ctx, parameters.n_parallel, parameters.n_gpu_layers = 8192, 8, 0
    parameters.cache_prompt, parameters.verbosity = False, 0
    server = xllamacpp.Server(parameters)
    print(json.dumps({"about": xllamacpp.BUILD_INFO, "system": xllamacpp.get_system_info()}), flush=True)
    for line in sys.stdin:
        wish = json.loads(line)
        prompts = wish["prompts"] if len(wish["prompts"]) > 1 else wish["prompts"][0]
        began = time.process_time()
        found = server.handle_completions(
            {
                "prompt": prompts, "n_predict": wish["new"], "temperature": 0, "ignore_eos": True,
                "cache_prompt": False, "return_tokens": True,
            }
        )  # fmt: skip
        seconds = time.process_time() - began
        texts, each = len(found["choices"]), found["usage"]["completion_tokens"]  # of one of them, or of all
        print(json.dumps({"seconds": seconds, "texts": texts, "tokens": each}), flush=True)


if __name__ == "__main__":
    main()
