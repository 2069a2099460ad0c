#!/bin/bash
# Builds test/gpu/gpu_cases.cc with everything of native/src that does not need Node: build_runner.sh OUTPUT
set -euo pipefail
cd "$(dirname "$0")/../.."
sources=$(ls native/src/*.cc | grep -vE '/(addon|js_values)\.cc$')
# shellcheck disable=SC2086 # file names without spaces
g++ -std=gnu++17 -O2 -Wall -Wextra -fno-exceptions -o "$1" test/gpu/gpu_cases.cc $sources -ldl -lpthread
