#!/usr/bin/env bash
# Counts the instructions of a hit at 1,000 entries: callgrind's count for 200,000 lookups less that
# for 100,000, by 100,000. Fails if Larder's asynchronous `get` on u64 keys takes more than 170,
# those of the loop around it included. Needs valgrind.
set -euo pipefail
cd "$(dirname "$0")"

LOOKUPS=100000
LIMIT=170

cargo build --release --locked --quiet --bin instructions
program=${CARGO_TARGET_DIR:-target}/release/instructions

total() {
  valgrind --tool=callgrind --callgrind-out-file=/dev/null "$program" "$1" "$2" 2>&1 |
    sed -n 's/.*Collected : \([0-9]*\).*/\1/p'
}

hit() {
  local once twice
  once=$(total "$1" "$LOOKUPS")
  twice=$(total "$1" $((LOOKUPS * 2)))
  echo $(((twice - once + LOOKUPS / 2) / LOOKUPS))
}

loop=$(hit loop/u64)
echo "# Instructions of a hit, 1,000 entries"
echo
echo "| | with the loop | without |"
echo "|---|---:|---:|"
echo "| loop, index, clone and drop of an Arc | $loop | 0 |"
for subject in quick_cache/u64 larder/u64 peek/u64 quick_cache/string32 larder/string32 peek/string32; do
  count=$(hit "$subject")
  echo "| $subject | $count | $((count - loop)) |"
  if [ "$subject" = larder/u64 ]; then measured=$count; fi
done
echo
if [ "$measured" -gt "$LIMIT" ]; then
  echo "MISSED larder get on u64: $measured instructions (aim: ≤ $LIMIT)"
  exit 1
fi
echo "met    larder get on u64: $measured instructions (aim: ≤ $LIMIT)"
