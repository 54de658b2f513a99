#!/bin/bash
# Runs every fuzz target for some seconds, from the committed corpora.
#
#   fuzz/run.sh [SECONDS [TARGET...]]      20 s of all targets unless told otherwise
#   JOBS=2 fuzz/run.sh ...                 two targets at a time
#
# Each target ends with a line: how many inputs were executed in how many seconds, how much was covered (`cov` code
# edges, `ft` features, as libFuzzer counts them), and the most memory that the process occupied. A process that
# occupies more than 1 GiB, or asks for more than 64 MiB at once, has failed.
#
# What a run finds out goes to a scratch directory under the build directory, so that `fuzz/corpus` changes only by
# somebody's decision. An input that breaks a rule is kept in `fuzz/artifacts/TARGET`: reduce it with
# `cargo fuzz tmin`, put it into the corpus under a name that says what it found, and mend what it found.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${1:-20}
shift $(($# > 0))
targets=("$@")
[[ ${#targets[@]} -gt 0 ]] || targets=(startup deframer arrivals segments pair terminate control)
jobs=${JOBS:-1}

# libFuzzer wants flags that only a nightly compiler takes without being asked twice.
if cargo +nightly --version >/dev/null 2>&1; then
    fuzz=(cargo +nightly fuzz)
else
    export RUSTC_BOOTSTRAP=1
    fuzz=(cargo fuzz)
fi

scratch=$(realpath --canonicalize-missing "${CARGO_TARGET_DIR:-target}")/fuzz
export CARGO_TARGET_DIR=$scratch/build
# Freed memory is not kept back for long, so that what a process occupies tells what it holds.
export ASAN_OPTIONS=quarantine_size_mb=16${ASAN_OPTIONS:+:$ASAN_OPTIONS}

# Prints the last value of a statistic that libFuzzer gives as `stat::NAME: VALUE`.
stat() {
    sed -n "s/^stat::$1: *//p" "$2" | tail -n 1
}

run() {
    local target=$1 found=$scratch/found/$1 said=$scratch/$1.log started=$SECONDS
    mkdir -p "$found"
    if "${fuzz[@]}" run --fuzz-dir fuzz "$target" "$found" "fuzz/corpus/$target" -- \
        -max_total_time="$seconds" -max_len=4096 -timeout=10 -rss_limit_mb=1024 -malloc_limit_mb=64 \
        -print_final_stats=1 >"$said" 2>&1; then
        local covered
        covered=$(grep -E '^#[0-9]+.DONE' "$said" | grep -oE 'cov: [0-9]+ ft: [0-9]+')
        printf '%-9s %9d executions in %d s, %s, at most %d MiB\n' "$target" \
            "$(stat number_of_executed_units "$said")" $((SECONDS - started)) "$covered" \
            "$(stat peak_rss_mb "$said")"
    else
        tail -n 60 "$said"
        echo "fuzz target $target has failed" >&2
        return 1
    fi
}

echo "building, then fuzzing ${targets[*]} for $seconds s each"
mkdir -p "$scratch"
"${fuzz[@]}" build --fuzz-dir fuzz >"$scratch/build.log" 2>&1 || {
    tail -n 60 "$scratch/build.log"
    exit 1
}
for target in "${targets[@]}"; do
    while (($(jobs -rp | wc -l) >= jobs)); do
        wait -n || true
    done
    # What a job that has ended said is not always kept for whoever waits later: a file is.
    rm -f "$scratch/$target.failed"
    { run "$target" || touch "$scratch/$target.failed"; } &
done
wait
for target in "${targets[@]}"; do
    [[ ! -e $scratch/$target.failed ]] || exit 1
done
