#!/bin/bash
# Measures one set of installed libraries beside the bundled kernels on a GPU machine: run_backends.sh SET OUTPUT_FOLDER
#
# Needs what prepare_backends.sh packed, in native/build/backends. Installs nothing outside native/build: a virtual environment per
# set, on top of the machine's torch (TORCH_PYTHON, default: the python3 that has torch).
set -euo pipefail
cd "$(dirname "$0")/../.."
set=${1:?usage: run_backends.sh torch|flash|fa4|ffpa|flashinfer OUTPUT_FOLDER}
out=${2:?usage: run_backends.sh SET OUTPUT_FOLDER}
base=${TORCH_PYTHON:-$(command -v python3)}
packed=native/build/backends
node=native/build/backends-tools/bin/node
mkdir -p "$out"

extract() { # ARCHIVE FOLDER
  mkdir -p "$2"
  "$base" -c 'import sys, tarfile; tarfile.open(sys.argv[1], "r:xz").extractall(sys.argv[2])' "$1" "$2"
}
environment() { # NAME ARCHIVE...: a virtual environment with the archives' packages, and the machine's behind them
  local place=native/build/backends-env/$1 site archive
  shift
  if [[ ! -e $place/ready ]]; then
    "$base" -m venv --without-pip "$place"
    site=$("$place/bin/python" -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')
    for archive in "$@"; do extract "$packed/$archive/site.tar.xz" "$site"; done
    "$base" -c 'import os, torch; print(os.path.dirname(os.path.dirname(torch.__file__)))' >"$site/zz_machine.pth"
    touch "$place/ready"
  fi
  python=$PWD/$place/bin/python
}
if [[ ! -x $node ]]; then
  extract "$packed/tools/site.tar.xz" native/build/backends-tools
  rm -rf dist && cp -r native/build/backends-tools/dist dist
  mkdir -p native/build && cp -r native/build/backends-tools/native/build/. native/build/
fi
measure() { # NAME ENGINES PRESETS [OPTION...]
  local name=$1 engines=$2 presets=$3 status=0
  shift 3
  timeout 580 "$node" dist/cli.js run --busy-ok --preset "$presets" --backends "$engines" --python "$python" \
    --target-ms 100 --warmup-ms 100 --json "$out/backends-$name.json" "$@" >"$out/backends-$name.txt" 2>&1 || status=$?
  echo "== $name: exit $status"
  tail -n 4 "$out/backends-$name.txt"
}
contiguous=prefill-head-sizes,prefill-full,decode-head-sizes
paged=paged-prefill,paged-decode
case $set in
  torch)
    environment torch
    measure torch torch.sdpa.flash,torch.sdpa.cudnn,torch.sdpa.efficient,torch.sdpa.math,torch.flex "$contiguous"
    ;;
  flash)
    environment flash flash-fa2 flash
    measure flash fa2.vllm,fa3.vllm,flashmla.vllm "$contiguous,gemma4"
    measure flash-mla fa2.vllm,fa3.vllm,flashmla.vllm mla-decode
    measure flash-paged fa2.vllm,fa3.vllm "$paged"
    ;;
  fa4)
    environment fa4 cute-compiler cute
    measure fa4 fa4.system,fa4.vllm "$contiguous,gemma4"
    measure fa4-paged fa4.system,fa4.vllm "$paged"
    ;;
  ffpa)
    environment ffpa ffpa-compiler ffpa
    measure ffpa ffpa prefill-head-sizes,prefill-full --head-dim 256,512
    ;;
  flashinfer)
    environment flashinfer flashinfer
    export FLASHINFER_CUDA_ARCH_LIST=9.0a
    measure flashinfer flashinfer "$contiguous"
    measure flashinfer-mla flashinfer mla-decode
    measure flashinfer-paged flashinfer "$paged" --page 16,64
    ;;
  *) echo "There is no set $set." >&2; exit 2 ;;
esac
