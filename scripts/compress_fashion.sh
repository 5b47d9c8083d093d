#!/usr/bin/env bash
# Fashion-MNIST from a search to compressed forms of its winner, in 26 minutes on 2 cores.
#
#   bash scripts/compress_fashion.sh [RUN_DIR] [DATA_ROOT]     # where torchvision's FashionMNIST is
#
# The search is stopped by its budget, so that its time depends on the machine; the retraining, as wide as its time
# allows, gets RETRAIN minutes, and the compression what is left of TOTAL. To see that the script works, in two minutes:
#
#   FIRST=60 TOTAL=2 RETRAIN=1 EVALUATIONS=4 MACS=300000 bash scripts/compress_fashion.sh /tmp/toy
set -euo pipefail

RUN=${1:-runs/fashion}
DATA=${2:-../shared/data/fashion_mnist}
PYTHON=${PYTHON:-python}
TOTAL=${TOTAL:-26}
RETRAIN=${RETRAIN:-11}
EVALUATIONS=${EVALUATIONS:-24}
MACS=${MACS:-3000000}
FIRST=${FIRST:-6000}      # images of every class, at most

started=$(date +%s)
"$PYTHON" -m nas_gym search --env nas_gym/Chain-FashionMNIST-v0 --data-root "$DATA" \
    --env-arg first_per_class="$FIRST" --env-arg first_test_per_class="$FIRST" --env-arg validation_share=0.1 \
    --env-arg max_macs="$MACS" --env-arg epochs=1 --env-arg threads=1 \
    --agent genetic --evaluations "$EVALUATIONS" --confirm 0 --explain none --workers 2 --seed 0 --run-dir "$RUN"
echo "searched for $(( ($(date +%s) - started + 59) / 60 )) minutes"
"$PYTHON" -m nas_gym retrain "$RUN" --top 1 --repeats 1 --width auto --minutes "$RETRAIN"
left=$(( TOTAL - ($(date +%s) - started + 59) / 60 ))
"$PYTHON" -m nas_gym compress "$RUN" --ratios 0.3,0.5 --students 1 --minutes $(( left > 1 ? left : 1 ))
echo "$(( ($(date +%s) - started + 59) / 60 )) minutes in all"
