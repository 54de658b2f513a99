#!/bin/bash
# Runs every fuzz target for some seconds, from the committed corpora.
#
#   fuzz/run.sh [SECONDS [TARGET...]]      20 s of all targets unless told otherwise
#
# What a run finds out goes to a scratch directory under the build directory, so that `fuzz/corpus` changes only by
# somebody's decision. An input that breaks a rule is kept in `fuzz/artifacts/TARGET`: reduce it with
# `cargo fuzz tmin`, put it into the corpus under a name that says what it found, and mend what it found.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${1:-20}
shift $(($# > 0))
targets=("$@")
[[ ${#targets[@]} -gt 0 ]] || targets=(startup deframer segments terminate)

# libFuzzer wants flags that only a nightly compiler takes without being asked twice.
if cargo +nightly --version >/dev/null 2>&1; then
    fuzz=(cargo +nightly fuzz)
else
    export RUSTC_BOOTSTRAP=1
    fuzz=(cargo fuzz)
fi

scratch=$(realpath --canonicalize-missing "${CARGO_TARGET_DIR:-target}")/fuzz
export CARGO_TARGET_DIR=$scratch/build
for target in "${targets[@]}"; do
    found=$scratch/found/$target
    mkdir -p "$found"
    echo "fuzzing $target for $seconds s"
    said=$scratch/$target.log
    if "${fuzz[@]}" run --fuzz-dir fuzz "$target" "$found" "fuzz/corpus/$target" -- \
        -max_total_time="$seconds" -max_len=4096 -timeout=10 -print_final_stats=1 >"$said" 2>&1; then
        grep -E "^#[0-9]+.DONE" "$said"
    else
        tail -n 60 "$said"
        echo "fuzz target $target has failed" >&2
        exit 1
    fi
done
