#!/bin/bash
# Packs the installed libraries that are measured on an H200 for a machine that reaches no network: prepare_backends.sh [SET...]
# SET: tools flash cute ffpa flashinfer (default: all). See backends.md for what each holds and how it is run.
#
# Downloads wheels from PyPI for the machine's Python (PY, default 3.12) and leaves native/build/backends/NAME/*.tar.xz, each
# small enough to travel alone (64 MiB with the working tree). What had to be compiled is kept in the cache folder.
set -euo pipefail
cd "$(dirname "$0")/../.."
PY=${PY:-3.12}
OUT=native/build/backends
WHEELS=${WHEELS:-${XDG_CACHE_HOME:-$HOME/.cache}/attention-backend-diagnostics/peers}
XZ=${XZ:--T0 -6}
mkdir -p "$OUT" "$WHEELS"

fetch() { # REQUIREMENT...: wheels for the machine, without what they require
  python3 -m pip download -q --no-deps --pre --only-binary=:all: --python-version "$PY" --implementation cp \
    --abi "cp${PY/./}" --abi abi3 --abi none --platform manylinux_2_28_x86_64 --platform manylinux_2_27_x86_64 \
    --platform manylinux_2_24_x86_64 --platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64 \
    --platform manylinux_2_12_x86_64 --platform manylinux2010_x86_64 --platform any -d "$WHEELS" "$@"
}
unpack() { # FOLDER WHEEL-GLOB...: what is in the wheels, as site-packages would have it
  local folder=$1 wheel
  shift
  mkdir -p "$folder"
  for wheel in "$@"; do
    # shellcheck disable=SC2086
    for file in $WHEELS/$wheel; do python3 -m zipfile -e "$file" "$folder"; done
  done
}
pack() { # NAME FOLDER PATH...: native/build/backends/NAME/site.tar.xz of the paths
  local name=$1 folder=$2
  shift 2
  rm -rf "${OUT:?}/$name"
  mkdir -p "$OUT/$name"
  # shellcheck disable=SC2086
  tar cf - -C "$folder" "$@" | nice xz $XZ >"$OUT/$name/site.tar.xz"
  du -h "$OUT/$name/site.tar.xz"
}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

tools() { # Node, and all that the command line needs beside it: it runs from where it is unpacked
  local at=$scratch/tools list
  node esbuild.mjs
  mkdir -p "$at/bin" "$at/native/build" "$at/extension" "$at/cases"
  cp "$(readlink -f "$(command -v node)")" "$at/bin/node"
  cp -r dist package.json "$at/"
  rm -f "$at"/dist/*.{map,vsix}
  cp -r extension/python "$at/extension/"
  cp -r native/build/attention_addon.node native/build/kernels "$at/native/build/"
  for list in contenders wide others flashinfer smoke; do node test/gpu/backend_cases.mjs $list >"$at/cases/$list.json"; done
  pack tools "$at" .
}
flash() { # vLLM's FA2, FA3 and FlashMLA, built for torch 2.11
  fetch vllm==0.24.0
  unpack "$scratch/flash" 'vllm-0.24.0-*.whl'
  (cd "$scratch/flash" && rm -rf vllm/vllm_flash_attn/cute && mkdir -p dist && mv vllm-0.24.0.dist-info/METADATA dist/)
  mkdir -p "$scratch/flash/vllm-0.24.0.dist-info" && mv "$scratch/flash/dist/METADATA" "$scratch/flash/vllm-0.24.0.dist-info/"
  local fa2=vllm/vllm_flash_attn/_vllm_fa2_C.abi3.so
  pack flash-fa2 "$scratch/flash" $fa2
  rm "$scratch/flash/$fa2"
  pack flash "$scratch/flash" vllm/vllm_flash_attn vllm/_flashmla_C.abi3.so vllm/third_party/__init__.py \
    vllm/third_party/flashmla vllm/_version.py vllm-0.24.0.dist-info
}
cute_stack() { # FOLDER CUTLASS QUACK: what FA4 and FFPA compile with
  fetch "nvidia-cutlass-dsl==$2" "nvidia-cutlass-dsl-libs-base==$2" "nvidia-cutlass-dsl-libs-core==$2" \
    "nvidia-cutlass-dsl-libs-cu13==$2" "quack-kernels==$3" apache-tvm-ffi==0.1.15.post2 torch-c-dlpack-ext==0.1.5 einops==0.8.1
  unpack "$1" "nvidia_cutlass_dsl-$2-*" "nvidia_cutlass_dsl_libs_*-$2-*" "quack_kernels-$3-*" 'apache_tvm_ffi-*' 'torch_c_dlpack_ext-*' 'einops-0.8.1-*'
}
split() { # NAME FOLDER: two transfers, the large compiler apart
  local ir
  ir=$(cd "$2" && find . -name '_cutlass_ir*.so')
  pack "$1-compiler" "$2" "$ir"
  rm "$2/$ir"
  pack "$1" "$2" .
}
cute() { # system FA4, and vLLM's copy of it
  cute_stack "$scratch/cute" 4.8.1 0.6.5
  fetch flash-attn-4==4.0.0b36 vllm==0.33.0
  unpack "$scratch/cute" 'flash_attn_4-4.0.0b36-*'
  unpack "$scratch/vllm33" 'vllm-0.33.0-*.whl'
  mkdir -p "$scratch/cute/vllm/vllm_flash_attn" "$scratch/cute/vllm-0.33.0.dist-info"
  cp -r "$scratch/vllm33/vllm/vllm_flash_attn/cute" "$scratch/cute/vllm/vllm_flash_attn/"
  cp "$scratch/vllm33/vllm/_version.py" "$scratch/cute/vllm/"
  cp "$scratch/vllm33/vllm-0.33.0.dist-info/METADATA" "$scratch/cute/vllm-0.33.0.dist-info/"
  split cute "$scratch/cute"
}
ffpa() { # FFPA pins another compiler than FA4
  cute_stack "$scratch/ffpa" 4.6.2 0.6.4
  fetch ffpa-attn==0.2.4
  unpack "$scratch/ffpa" 'ffpa_attn-0.2.4-*'
  split ffpa "$scratch/ffpa"
}
flashinfer() { # with its modules compiled, which takes its JIT minutes on the GPU machine and this one half an hour
  fetch flashinfer-python==0.6.12 ninja nvidia-cudnn-frontend apache-tvm-ffi==0.1.15.post2 click einops==0.8.1 tabulate nvidia-ml-py \
    packaging requests tqdm urllib3 idna certifi charset-normalizer
  unpack "$scratch/flashinfer" 'flashinfer_python-0.6.12-*' 'ninja-*' 'nvidia_cudnn_frontend-*' 'apache_tvm_ffi-*' 'click-*' 'einops-0.8.1-*' \
    'tabulate-*' 'nvidia_ml_py-*' 'packaging-*' 'requests-*' 'tqdm-*' 'urllib3-*' 'idna-*' 'certifi-*' 'charset_normalizer-*'
  local modules=$WHEELS/flashinfer-0.6.12-modules toolkit=$WHEELS/cuda-13.0
  if [[ ! -d $modules ]]; then
    [[ -d $toolkit ]] || python3 -m pip install -q --no-deps --target "$toolkit" nvidia-cuda-nvcc==13.0.88 nvidia-nvvm==13.0.88 \
      nvidia-cuda-crt==13.0.88 nvidia-cuda-runtime==13.0.96 nvidia-cuda-cccl==13.0.85 nvidia-curand==10.4.0.35
    python3 -m pip install -q --target "$scratch/compile" apache-tvm-ffi==0.1.15.post2 jinja2 filelock packaging
    unpack "$scratch/compile" 'flashinfer_python-0.6.12-*'
    CUDA_HOME=$toolkit/nvidia/cu13 nice -n 19 python3 test/gpu/compile_flashinfer.py "$scratch/compile" "$scratch/modules"
    mv "$scratch/modules" "$modules"
  fi
  cp -r "$modules" "$scratch/flashinfer/flashinfer/data/aot"
  pack flashinfer "$scratch/flashinfer" .
}
for set in "${@:-tools flash cute ffpa flashinfer}"; do for each in $set; do "$each"; done; done
