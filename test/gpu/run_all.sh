#!/bin/bash
# Everything that needs a GPU, in a few minutes: run_all.sh OUTPUT_FOLDER [portable]
# With `portable` the Hopper kernels are left out everywhere.
#
# Needs what `prepare.sh` made: native/build/kernels, native/build/kernels-{mask,page,rescale}, native/build/gpu. Prints a
# short table last; the full logs are in the output folder. Exit code 1 when a part failed.
set -uo pipefail
cd "$(dirname "$0")/../.."
out=${1:?usage: run_all.sh OUTPUT_FOLDER}
gpu=native/build/gpu
kernels=native/build/kernels
runner=/tmp/gpu_cases.$$
summary=()
failed=0
[[ ${2:-} == portable ]] && export ATTN_DIAG_TARGET=ptx

note() { # NAME STATUS
  summary+=("$(printf '%-34s %s' "$1" "$2")")
}
part() { # NAME SECONDS COMMAND...
  local name=$1 seconds=$2
  shift 2
  if timeout "$seconds" "$@" >"$out/$name.txt" 2>&1; then
    note "$name" "ok    $(tail -1 "$out/$name.txt")"
  else
    note "$name" "FAILED ($?) $(tail -1 "$out/$name.txt")"
    failed=1
  fi
}
fault() { # NAME: a broken build must be called wrong wherever its fault can show
  timeout 60 "$runner" "native/build/kernels-$1" $gpu/selftest.txt check >"$out/fault-$1.txt" 2>&1
  local wrong
  wrong=$(grep -o 'wrong [0-9]*' "$out/fault-$1.txt" | tail -1)
  if [[ -n $wrong ]]; then note "fault-$1" "caught: $(tail -1 "$out/fault-$1.txt")"; else note "fault-$1" "NOT CAUGHT"; failed=1; fi
}
sanitize() { # TOOL: in the background
  timeout 120 compute-sanitizer --tool "$1" --error-exitcode 9 --print-limit 5 \
    "$runner" $kernels $gpu/small.txt check >"$out/$1.txt" 2>&1
  echo $? >"$out/$1.rc"
}

test/gpu/build_runner.sh "$runner" || exit 1
part selftest 60 "$runner" $kernels $gpu/selftest.txt check
part selftest-163k 90 env ATTN_DIAG_TARGET=ptx ATTN_DIAG_SHARED_LIMIT=166912 "$runner" $kernels $gpu/selftest.txt check
part selftest-99k 90 env ATTN_DIAG_TARGET=ptx ATTN_DIAG_SHARED_LIMIT=101376 "$runner" $kernels $gpu/selftest.txt check
part selftest-ptx 90 env ATTN_DIAG_TARGET=ptx "$runner" $kernels $gpu/selftest.txt check
part behave 60 "$runner" $kernels $gpu/selftest.txt behave
for name in mask page rescale; do fault $name; done
part bench 100 "$runner" $kernels $gpu/bench.txt time 60 150
[[ ${2:-} == portable ]] || part bench-portable 100 env ATTN_DIAG_TARGET=ptx "$runner" $kernels $gpu/bench.txt time 60 150

tools=(memcheck racecheck synccheck initcheck)
for tool in "${tools[@]}"; do sanitize "$tool" & done
wait
for tool in "${tools[@]}"; do
  rc=$(cat "$out/$tool.rc")
  note "$tool" "exit $rc  $(grep -E 'ERROR SUMMARY|RACECHECK SUMMARY' "$out/$tool.txt" | tail -1)"
  [[ $rc == 0 ]] || failed=1
done
rm -f "$runner"
echo "== summary"
printf '%s\n' "${summary[@]}"
exit $failed
