#!/bin/sh
# Two workers on one search, by keras-tuner's own chief and workers over loopback; the same as
# `proxy_search.py --workers 2`, to be copied for several machines.
#   sh tuning/proxy_search_workers.sh --quick --dir runs/search
# PYTHON is the interpreter, WORKERS the number of workers, KERASTUNER_ORACLE_PORT a free port.
set -eu
program="$(dirname "$0")/proxy_search.py"
export KERASTUNER_ORACLE_IP="${KERASTUNER_ORACLE_IP:-127.0.0.1}"
export KERASTUNER_ORACLE_PORT="${KERASTUNER_ORACLE_PORT:-8761}"
workers="${WORKERS:-2}"

KERASTUNER_TUNER_ID=chief "${PYTHON:-python}" "$program" "$@" &
chief=$!
trap 'kill $chief 2>/dev/null || true' EXIT
pids=""
i=0
while [ "$i" -lt "$workers" ]; do
    KERASTUNER_TUNER_ID="tuner$i" "${PYTHON:-python}" "$program" "$@" &
    pids="$pids $!"
    i=$((i + 1))
done
for pid in $pids; do wait "$pid"; done
# The chief ends by itself, at most 20 seconds after its last worker.
wait "$chief"
