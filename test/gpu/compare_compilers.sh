#!/bin/bash
# Speed of the same portable kernels from the pinned compiler and from this machine's nvcc: compare_compilers.sh OUTPUT_FOLDER
set -euo pipefail
cd "$(dirname "$0")/../.."
out=${1:?usage: compare_compilers.sh OUTPUT_FOLDER}
other=/tmp/kernels-nvcc
rm -rf $other
cp -r native/build/kernels $other
pids=()
for source in native/build/gpu/sources/{prefill,decode}_d*.sm_90.cu; do
  nvcc -std=c++17 -O3 -cubin -arch=sm_90 -Inative/kernels -o "$other/$(basename "$source" .cu).cubin" "$source" &
  pids+=($!)
done
for pid in "${pids[@]}"; do wait "$pid"; done
python3 - $other <<'PY'
import sys, zlib
folder = sys.argv[1]
rows = [line.split("\t") for line in open(f"{folder}/modules.tsv").read().splitlines()]
for row in rows:
    row[4] = f"{zlib.crc32(open(f'{folder}/{row[0]}', 'rb').read()):x}"
open(f"{folder}/modules.tsv", "w").write("".join("\t".join(row) + "\n" for row in rows))
PY
test/gpu/build_runner.sh /tmp/gpu_cases_compare
for round in 1 2; do
  for build in native/build/kernels $other; do
    ATTN_DIAG_TARGET=sm_90 /tmp/gpu_cases_compare $build native/build/gpu/bench.txt time 30 60 >"$out/compare-$round-$(basename $build).txt"
  done
done
nvcc --version | grep release
python3 - "$out" <<'PY'
import re, statistics, sys
times = {}
for build in ("kernels", "kernels-nvcc"):
    for round_ in (1, 2):
        for line in open(f"{sys.argv[1]}/compare-{round_}-{build}.txt"):
            hit = re.match(r"\s*(\d+) (\S+).*?([\d.]+) ms", line)
            if hit:
                times.setdefault((int(hit[1]), hit[2]), {}).setdefault(build, []).append(float(hit[3]))
ratios = []
for (index, name), both in sorted(times.items()):
    ratio = min(both["kernels"]) / min(both["kernels-nvcc"])
    ratios.append(ratio)
    print(f"{index:3d} {name:28s} time with the pinned compiler / with nvcc here: {ratio:.3f}")
print(f"geometric mean {statistics.geometric_mean(ratios):.3f} over {len(ratios)} cases")
PY
