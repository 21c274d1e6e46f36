#!/bin/sh
# The main job, end to end, on this machine and without the network: which model, what it needs, and the proof.
# The last two steps are about the small model that comes with fmkit: what it should take, and what it does take.
# Usage: sh examples/demo.sh [FMKIT]
set -eu
cd "$(dirname "$0")/.."
fmkit=${1:-fmkit}

step() {
    printf '\n$ fmkit %s\n\n' "$*"
    "$fmkit" "$@" --offline
}

step recommend chat --gpu rtx-4090 --licence permissive --top 3
step vram llama-3.1-8b --gpu rtx-4090 --fit
step vram ./fmkit/trial/embedded/model --precision fp32 --context 512
step try --precision fp32 --context 512
