#!/bin/bash
# Builds test/gpu/gpu_cases.cc with the Node-free runner sources: build_runner.sh OUTPUT
set -euo pipefail
cd "$(dirname "$0")/../.."
sources=(gpu_session gpu_device gpu_case hopper_prefill ceilings_gpu kernel_registry decode_plan cuda_driver dynlib nvml
  case_math case_validation page_table reference_cpu parallel timing_stats)
g++ -std=gnu++17 -O2 -Wall -Wextra -fno-exceptions -o "$1" test/gpu/gpu_cases.cc \
  $(printf "native/src/%s.cc " "${sources[@]}") -ldl -lpthread
