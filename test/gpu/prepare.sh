#!/bin/bash
# Makes what run_all.sh needs, on a machine with Node: kernels, deliberately broken kernels, case lists.
# Of the broken builds only Hopper's images are kept: they are run there and nowhere else, and travel.
set -euo pipefail
cd "$(dirname "$0")/../.."
node native/kernels/build.mjs
for fault in mask page rescale; do
  node native/kernels/build.mjs --fault $fault --out native/build/kernels-$fault
  rm -f native/build/kernels-$fault/*.{ptx,sm_80.cubin,sm_120.cubin}
done
mkdir -p native/build/gpu/sources
for list in selftest small bench; do node test/gpu/list_cases.mjs $list >native/build/gpu/$list.txt; done
node native/kernels/build.mjs --sources native/build/gpu/sources
