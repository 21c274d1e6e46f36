#!/bin/sh
# The main job, end to end, on this machine and without the network: which model, what it needs, and the proof.
# Usage: sh examples/demo.sh [FMKIT]
set -eu
fmkit=${1:-fmkit}

step() {
    printf '\n$ fmkit %s\n\n' "$*"
    "$fmkit" "$@" --offline
}

step recommend chat --gpu rtx-4090 --licence permissive --top 3
step vram llama-3.1-8b --gpu rtx-4090 --fit
step try
