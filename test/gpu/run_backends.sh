#!/bin/bash
# Measures installed libraries beside the bundled kernels on a GPU machine that reaches no network:
#   run_backends.sh unpack NAME...         unpacks archives of prepare_backends.sh, as they arrive
#   run_backends.sh RUN OUTPUT_FOLDER      RUN: contenders flashinfer others fa2
#
# ARCHIVES (default native/build/backends) holds NAME/site.tar.xz; everything is unpacked into WORK (default
# native/build/backends-run), where it stays between calls: the command line, and a virtual environment for each set of libraries
# on top of the machine's torch (TORCH_PYTHON, default: the python3 that has torch). CASES, ROUNDS, TARGET_MS, WARMUP_MS and
# SECONDS_AT_MOST replace a run's own, for a quick look.
set -euo pipefail
top=$(cd "$(dirname "$0")/../.." && pwd)
archives=${ARCHIVES:-$top/native/build/backends}
work=${WORK:-$top/native/build/backends-run}
base=${TORCH_PYTHON:-$(command -v python3)}

declare -A environment=([flash]=flash [flash-fa2]=flash [cute]=cute [cute-compiler]=cute [ffpa]=ffpa [ffpa-compiler]=ffpa
  [flashinfer]=flashinfer [flashinfer-aot]=flashinfer)

extract() { # ARCHIVE FOLDER
  mkdir -p "$2"
  if command -v xz >/dev/null; then xz -dc -T0 "$1" | tar xf - -C "$2"; else
    "$base" -c 'import sys, tarfile; tarfile.open(sys.argv[1], "r:xz").extractall(sys.argv[2], filter="fully_trusted")' "$1" "$2"
  fi
}
unpack() { # NAME: once
  local place=$work/tools
  [[ -e $work/unpacked/$1 ]] && return
  if [[ $1 != tools ]]; then
    local env=$work/env-${environment[$1]}
    if [[ ! -e $env/bin/python ]]; then
      "$base" -m venv --without-pip "$env"
      "$base" -c 'import os, torch; print(os.path.dirname(os.path.dirname(torch.__file__)))' \
        >"$("$env/bin/python" -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')/zz_machine.pth"
    fi
    place=$("$env/bin/python" -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')
  fi
  extract "$archives/$1/site.tar.xz" "$place"
  mkdir -p "$work/unpacked" && touch "$work/unpacked/$1"
}
if [[ ${1:-} == unpack ]]; then
  shift
  for name in "$@"; do unpack "$name"; done
  exit 0
fi

run=${1:?usage: run_backends.sh unpack NAME... | RUN OUTPUT_FOLDER}
out=${2:?usage: run_backends.sh RUN OUTPUT_FOLDER}
mkdir -p "$out"
measure() { # SECONDS LIST ENGINES ROUNDS PYTHON-OPTION...: after so many seconds it is cancelled, and reports what it has
  local status=0 seconds=${SECONDS_AT_MOST:-$1} list=${CASES:-$2} engines=$3 rounds=${ROUNDS:-$4}
  shift 4
  [[ -e $list ]] || list=$work/tools/cases/$list.json
  timeout -k 20 "$seconds" "$work/tools/bin/node" "$work/tools/dist/cli.js" run --busy-ok --cases "$list" --backends "$engines" "$@" \
    --rounds "$rounds" --target-ms "${TARGET_MS:-30}" --warmup-ms "${WARMUP_MS:-60}" --check-rows 96 \
    --json "$out/h200-libraries-$run.json" >"$out/$run.txt" 2>"$out/$run.err" || status=$?
  echo "== $run: exit $status, $SECONDS s"
}
python() { echo "$work/env-$1/bin/python"; } # ENVIRONMENT
case $run in
  contenders)
    measure 560 contenders torch.sdpa.cudnn,fa3.vllm,flashmla.vllm,fa4.system,fa4.vllm,ffpa 7 --python "$(python flash)" \
      --python "fa4.system,fa4.vllm=$(python cute)" --python "ffpa=$(python ffpa)"
    ;;
  flashinfer)
    export FLASHINFER_CUDA_ARCH_LIST=9.0a
    measure 150 flashinfer flashinfer 7 --python "$(python flashinfer)"
    ;;
  others)
    measure 180 others torch.sdpa.flash,torch.sdpa.efficient,torch.sdpa.math,torch.flex 1 --python "$(python flash)"
    ;;
  fa2)
    measure 420 others fa2.vllm 1 --python "$(python flash)"
    ;;
  *) echo "There is no run $run." >&2; exit 2 ;;
esac
