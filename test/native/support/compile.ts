/** Compiles the C++ that native tests need: stand-in driver libraries and test programs. */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import * as fs from 'node:fs';
import * as path from 'node:path';

const OUT_DIR = path.resolve('test/out/native-cpp');
const WARNINGS = ['-std=gnu++17', '-fno-exceptions', '-Wall', '-Wextra', '-Werror'];

/** Sources and headers below these folders decide whether a compiled file is still current. */
const SOURCE_DIRS = [
  'native/src',
  'native/kernels/common',
  'native/kernels/sm90a',
  'test/native/cpp',
  'test/native/fake_driver',
];

function sourcesHash(): string {
  const hash = createHash('sha256');
  for (const dir of SOURCE_DIRS) {
    for (const name of fs.readdirSync(dir).sort()) {
      if (/\.(cc|h)$/.test(name)) hash.update(name).update(fs.readFileSync(path.join(dir, name)));
    }
  }
  return hash.digest('hex').slice(0, 16);
}

/**
 * Compiles to a file named by what went into it, and does nothing when that is there already.
 * The compiler writes to a name of this process first, because test files run side by side.
 * @throws with the compiler's words when it fails
 */
function compile(name: string, args: readonly string[]): string {
  const key = createHash('sha256')
    .update(`${sourcesHash()} ${args.join(' ')}`)
    .digest('hex')
    .slice(0, 12);
  const target = path.join(OUT_DIR, key, name);
  if (fs.existsSync(target)) return target;
  fs.mkdirSync(path.dirname(target), { recursive: true });
  const temporary = `${target}.${String(process.pid)}`;
  const result = spawnSync('g++', [...WARNINGS, ...args, '-o', temporary, '-ldl', '-lpthread'], { encoding: 'utf8' });
  if (result.status !== 0) throw new Error(`g++ ${name} failed:\n${result.stderr}`);
  fs.renameSync(temporary, target);
  return target;
}

/** Paths of the stand-in `libcuda` and `libnvidia-ml`. */
export function buildFakeDriver(): { readonly cuda: string; readonly nvml: string } {
  const library = (name: string, source: string): string =>
    compile(name, ['-O1', '-shared', '-fPIC', '-fvisibility=hidden', `test/native/fake_driver/${source}`]);
  return { cuda: library('libcuda.so.1', 'fake_cuda.cc'), nvml: library('libnvidia-ml.so.1', 'fake_nvml.cc') };
}

/** The sources of the CPU device, without Node-API and drivers. */
const CPU_DEVICE_SOURCES = [
  'case_math',
  'case_validation',
  'correctness',
  'cpu_attention',
  'cpu_session',
  'page_table',
  'parallel',
  'reference_cpu',
  'system_memory',
  'timing_stats',
].map((name) => `native/src/${name}.cc`);

/** A program of test/native/cpp linked with the CPU device; `flags` add sanitizers. */
export function buildProgram(name: string, flags: readonly string[] = []): string {
  return compile(name, ['-O1', '-g', ...flags, '-Inative/src', `test/native/cpp/${name}.cc`, ...CPU_DEVICE_SOURCES]);
}
