#!/usr/bin/env bash
# CIFAR-10 from a search to a tested winner, within 75 minutes on 2 cores: a search on 10,000 images, a retraining on all 60,000.
#
#   bash scripts/retrain_cifar.sh [RUN_DIR] [DATA]      # DATA holds cifar10/subset.npz and cifar10/rest_*.npz
#
# The search is stopped by its budget, so that its time depends on the machine; the retraining gets what is left of 75 minutes
# (TOTAL). The same command goes on where it was stopped: what the retraining was given is kept in RUN_DIR/minutes.txt.
set -euo pipefail

RUN=${1:-runs/cifar10}
DATA=${2:-../shared/data}
PYTHON=${PYTHON:-python}
TOTAL=${TOTAL:-75}
EVALUATIONS=${EVALUATIONS:-32}
EPOCHS=${EPOCHS:-18}      # of the retraining: it is as wide as they allow
export PYTHONPATH="$(dirname "$0")${PYTHONPATH:+:$PYTHONPATH}"      # residual_space

has_bfloat16='import torch; from nas_gym.evaluation.process import has_bfloat16; print(has_bfloat16(torch.device("cpu")))'
how=(--env-arg epochs=4 --env-arg threads=1 --env-arg batch_size=64 --env-arg learning_rate=0.2)
if [ "$("$PYTHON" -c "$has_bfloat16")" = True ]; then how+=(--env-arg mixed_precision=true); fi

started=$(date +%s)
"$PYTHON" -m nas_gym search --env residual_space:Residual-v0 --env-arg dataset="$DATA/cifar10/subset.npz" \
    --env-arg max_macs=9500000 --env-arg min_resolution=4 --env-arg min_layers=6 "${how[@]}" \
    --agent genetic --evaluations "$EVALUATIONS" --confirm 0 --workers 2 --seed 0 --run-dir "$RUN"
if [ ! -s "$RUN/minutes.txt" ]; then
    searched=$(( ($(date +%s) - started + 59) / 60 ))
    echo "searched for $searched minutes"
    if [ $(( TOTAL - searched - 1 )) -lt 1 ]; then
        echo "error: the search took all of the $TOTAL minutes; give more: TOTAL=$(( searched + 60 )) bash $0 $*" >&2
        exit 2
    fi
    echo $(( TOTAL - searched - 1 )) > "$RUN/minutes.txt"
fi
"$PYTHON" -m nas_gym retrain "$RUN" --also "$DATA/cifar10/rest_*.npz" --width auto --top 2 --repeats 2 \
    --recipe-arg batch_size=128 --epochs "$EPOCHS" --minutes "$(cat "$RUN/minutes.txt")"
echo "$(( ($(date +%s) - started + 59) / 60 )) minutes in this call"
