/**
 * Builds the CUDA kernels: kernel_table.def + sources → one cubin per group and GPU image, plus compute_80 PTX, and
 * manifest.json, in native/build/kernels.
 *
 * usage: node native/kernels/build.mjs [--out DIR] [--fault mask|page|rescale] [--jobs N] [--verbose]
 *        node native/kernels/build.mjs --sources DIR | --print-hash
 *
 * The compiler is NVRTC + ptxas from two pinned PyPI wheels (requirements.txt), fetched once into the user's cache folder.
 * Every unit is cached by the hash of its sources, flags and compiler. `--fault` builds deliberately broken kernels that
 * the self-test must report as wrong; it needs `--out` so that it can never replace the real ones.
 *
 * Two ways compile nothing: `--sources` writes the translation units, for a look or for another compiler; `--print-hash`
 * prints the hash a build of the present sources would have, to tell whether a report is about these kernels.
 *
 * Exit codes: 0 built or unchanged, 1 build failed, 2 usage, 3 no compiler (the message says how to get one).
 */
import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { crc32 } from 'node:zlib';

const KERNELS = dirname(fileURLToPath(import.meta.url));
const COMPILER = 'nvrtc 12.8.93 + ptxas 12.8.93';
const NVRTC_FLAGS = ['-std=c++17', '-default-device'];
/** The portable source uses nothing past compute_80, so one front-end pass serves every image; Hopper's needs its own. */
const PORTABLE = 'compute_80';
const HOPPER = 'compute_90a';
const PTXAS_FLAGS = ['-v', '-O3'];
/** What is done to PTX images, for the cache: see `withoutLayout`. */
const PTX_FORM = 'without layout';
/** Oldest driver API version per image: SASS of 12.x loads on any 12.x driver that knows the GPU, PTX 8.7 needs 12.8. */
const MIN_DRIVER = { sm_80: 12000, sm_90: 12000, sm_90a: 12000, sm_120: 12080, ptx: 12080 };
const PORTABLE_TARGETS = ['sm_80', 'sm_90', 'sm_120', 'ptx'];
const FAULTS = ['mask', 'page', 'rescale'];

class BuildError extends Error {
  constructor(message, exitCode = 1) {
    super(message);
    this.exitCode = exitCode;
  }
}

function parseOptions() {
  let values;
  try {
    ({ values } = parseArgs({
      options: {
        out: { type: 'string' },
        fault: { type: 'string' },
        sources: { type: 'string' },
        jobs: { type: 'string', default: '2' },
        verbose: { type: 'boolean', default: false },
        'print-hash': { type: 'boolean', default: false },
      },
    }));
  } catch (error) {
    throw new BuildError(error.message, 2);
  }
  if (values.fault && !FAULTS.includes(values.fault)) throw new BuildError(`--fault is one of ${FAULTS.join(', ')}`, 2);
  if (values.fault && !values.out)
    throw new BuildError('--fault needs --out, so that it never replaces the real kernels', 2);
  const jobs = Number(values.jobs);
  if (!Number.isInteger(jobs) || jobs < 1) throw new BuildError('--jobs is a positive whole number', 2);
  return { ...values, jobs, out: values.out ?? join(KERNELS, '..', 'build', 'kernels') };
}

function sha256(...parts) {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part).update('\0');
  return hash.digest('hex');
}

function cacheFolder() {
  return join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'attention-backend-diagnostics');
}

/** NVRTC and ptxas, installed from the pinned wheels when they are not in the cache yet. */
function findCompiler() {
  const requirements = join(KERNELS, 'requirements.txt');
  const folder = join(cacheFolder(), `cuda-${sha256(readFileSync(requirements)).slice(0, 12)}`);
  const compiler = {
    nvrtc: join(folder, 'nvidia', 'cuda_nvrtc', 'lib', 'libnvrtc.so.12'),
    ptxas: join(folder, 'nvidia', 'cuda_nvcc', 'bin', 'ptxas'),
  };
  if (existsSync(compiler.nvrtc) && existsSync(compiler.ptxas)) return compiler;
  if (process.platform !== 'linux' || process.arch !== 'x64') {
    throw new BuildError('GPU kernels are built on 64-bit x86 Linux only; the extension works without them.', 3);
  }
  if (spawnSync('python3', ['-m', 'pip', '--version']).status !== 0) {
    throw new BuildError(
      'GPU kernels need pip to fetch the CUDA compiler: install it with "apt-get install python3-pip".',
      3,
    );
  }
  const temporary = `${folder}.${process.pid}`;
  mkdirSync(temporary, { recursive: true });
  const arguments_ = ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', '--no-deps', '--no-compile'];
  const run = spawnSync(
    'python3',
    [...arguments_, '--only-binary=:all:', '--require-hashes', '--target', temporary, '-r', requirements],
    { encoding: 'utf8', env: { ...process.env, PIP_ROOT_USER_ACTION: 'ignore' } },
  );
  if (run.status !== 0) {
    rmSync(temporary, { recursive: true, force: true });
    throw new BuildError(`The CUDA compiler could not be fetched with pip: ${run.stderr.trim().split('\n').pop()}`, 3);
  }
  rmSync(folder, { recursive: true, force: true });
  renameSync(temporary, folder);
  return compiler;
}

/** Rows of kernel_table.def. */
function readTable() {
  const text = readFileSync(join(KERNELS, 'kernel_table.def'), 'utf8');
  const rows = [];
  for (const match of text.matchAll(/^ATTN_KERNEL\(([^)]*)\)/gm)) {
    const cells = match[1].split(',').map((cell) => cell.trim().replace(/^"|"$/g, ''));
    const [name, op, dtype, dim, m, n, slabs, split, stages, threads, shared, blocks, targets, group] = cells;
    if (!group || cells.length !== 14) throw new BuildError(`kernel_table.def: bad row ${match[0]}`);
    rows.push({
      name,
      op,
      dtype,
      dim,
      m,
      n,
      slabs,
      split,
      stages,
      threads,
      shared,
      blocks,
      targets: targets.split(' '),
      group,
    });
  }
  return rows;
}

/** Rows of a table of `sm90a`: the cells of every `MACRO(...)`. */
function hopperRows(file, macro, cells) {
  const text = readFileSync(join(KERNELS, 'sm90a', file), 'utf8');
  const rows = [...text.matchAll(new RegExp(`^${macro}\\(([^)]*)\\)`, 'gm'))].map(([, row]) =>
    row.split(',').map((cell) => cell.trim()),
  );
  const bad = rows.find((row) => row.length < cells);
  if (bad) throw new BuildError(`sm90a/${file}: bad row ${bad.join(', ')}`);
  return rows;
}

/** Units of the tables of `sm90a`: one per group. */
function hopperUnits() {
  const groups = new Map();
  const add = (group, header, name, instantiation) => {
    if (!groups.has(group)) groups.set(group, { source: `#include "sm90a/${header}.cuh"\n`, kernels: [] });
    const unit = groups.get(group);
    if (unit.kernels.includes(name)) return; // one kernel, several rows
    unit.source += `${instantiation}\n`;
    unit.kernels.push(name);
  };
  const element = (dtype) => (dtype === 'bf16' ? 'Bf16' : 'Fp16');
  for (const [name, dtype, , , , , , , , , , , group, source, ...plan] of hopperRows(
    'prefill_table.def',
    'SM90_PREFILL',
    15,
  )) {
    const macro = `SM90_${source.toUpperCase()}_KERNEL`;
    add(group, source, name, `${macro}(${name}, sm90::${element(dtype)}, ${plan.join(', ')})`);
  }
  for (const [name, dtype, kv, dim, keys, groupCount, split, stages, threads, shared, group] of hopperRows(
    'decode_table.def',
    'SM90_DECODE',
    11,
  )) {
    const serves = kv === 'fp8' ? 'Either16' : element(dtype);
    const setup = `attn::${serves}, ${kv === 'fp8'}, ${dim}, ${keys}, ${groupCount}, ${split}, ${stages}`;
    add(group, 'decode', name, `SM90_DECODE_KERNEL(${name}, ${threads}, ${shared}, ${setup})`);
  }
  for (const [name, dtype, , , , shared, group] of hopperRows('mla_table.def', 'SM90_MLA', 7))
    add(group, 'mla', name, `SM90_MLA_KERNEL(${name}, ${shared}, sm90::${element(dtype)})`);
  return [...groups].map(([group, unit]) => ({ group, target: 'sm_90a', frontEnd: HOPPER, ...unit }));
}

/** Source text of one translation unit: the group's rows that belong into the image. */
function unitSource(rows) {
  const lines = [`#include "portable/${rows[0].op}.cuh"`];
  for (const row of rows) {
    const type = row.dtype === 'bf16' ? 'Bf16' : 'Fp16';
    const shape =
      row.op === 'prefill'
        ? `${row.dim}, ${row.m}, ${row.n}, ${row.slabs}, ${row.split}`
        : `${row.dim}, ${row.slabs}, ${row.split}, ${row.stages}`;
    const layout = `attn::${row.op === 'prefill' ? 'PrefillLayout' : 'DecodeLayout'}<${shape}>`;
    lines.push(
      `static_assert(${layout}::kThreads == ${row.threads} && ${layout}::kBytes == ${row.shared}, "table row ${row.name}");`,
      `extern "C" __global__ void __launch_bounds__(${row.threads}, ${row.blocks}) ${row.name}(`,
      `    const __grid_constant__ attn::AttentionParams p) {`,
      `  attn::${row.op}_body<attn::${type}, ${shape}>(p);`,
      `}`,
    );
  }
  return `${lines.join('\n')}\n`;
}

/** All units: {group, target, frontEnd, source, kernels}. */
function listUnits() {
  const rows = readTable();
  const units = [];
  for (const group of [...new Set(rows.map((row) => row.group))]) {
    for (const target of PORTABLE_TARGETS) {
      const members = rows.filter((row) => row.group === group && row.targets.includes(target));
      if (members.length === 0) continue;
      units.push({
        group,
        target,
        frontEnd: PORTABLE,
        source: unitSource(members),
        kernels: members.map((row) => row.name),
      });
    }
  }
  const support = readFileSync(join(KERNELS, 'support', 'support.cu'), 'utf8');
  const entries = [...support.matchAll(/\b(attn_\w+)\(/g)].map((match) => match[1]);
  for (const target of PORTABLE_TARGETS) {
    units.push({
      group: 'support',
      target,
      frontEnd: PORTABLE,
      source: '#include "support/support.cu"\n',
      kernels: entries,
    });
  }
  units.push({
    group: 'ceiling_wgmma',
    target: 'sm_90a',
    frontEnd: HOPPER,
    source: '#include "sm90a/ceiling.cu"\n',
    kernels: ['attn_wgmma_loop'],
  });
  return [...units, ...hopperUnits()];
}

/** The text of a translation unit with the text of everything it includes, each file once: what its image depends on. */
function expandSource(text, folder, seen = new Set()) {
  const parts = [text];
  for (const [, name] of text.matchAll(/^#include "([^"]+)"/gm)) {
    const file = [join(folder, name), join(KERNELS, name)].find((path) => existsSync(path));
    if (!file) throw new BuildError(`${name} is included but not there`);
    if (seen.has(file)) continue;
    seen.add(file);
    parts.push(name, expandSource(readFileSync(file, 'utf8'), dirname(file), seen));
  }
  return parts.join('\0');
}

/** Runs a program, feeds it `input`, resolves with its output or rejects with it. */
function run(program, arguments_, input) {
  return new Promise((resolve, reject) => {
    const child = spawn(program, arguments_, { stdio: ['pipe', 'pipe', 'pipe'] });
    let output = '';
    child.stdout.on('data', (chunk) => (output += chunk));
    child.stderr.on('data', (chunk) => (output += chunk));
    child.on('error', (error) => reject(new BuildError(`${program}: ${error.message}`)));
    child.on('close', (code) =>
      code === 0 ? resolve(output) : reject(new BuildError(`${program} ${arguments_.join(' ')}\n${output}`)),
    );
    child.stdin.on('error', () => {}); // the exit code tells it
    child.stdin.end(input);
  });
}

/**
 * Registers per kernel from `ptxas -v`; refuses spills, local memory and performance warnings of the C75xx family, except
 * in deliberately broken builds, whose speed is nobody's concern.
 */
function readPtxasLog(unit, log, tolerant) {
  const registers = {};
  const problems = [];
  let entry = null;
  for (const line of log.split('\n')) {
    const compiling = /Compiling entry function '(\w+)'/.exec(line);
    if (compiling) entry = compiling[1];
    if (/\bC75\d\d\b/.test(line)) problems.push(line.trim());
    const frame = /(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads/.exec(line);
    if (frame && frame.slice(1).some((bytes) => bytes !== '0')) problems.push(`${entry}: ${line.trim()}`);
    const used = /Used (\d+) registers/.exec(line);
    if (used && entry) registers[entry] = Number(used[1]);
  }
  if (problems.length > 0 && !tolerant)
    throw new BuildError(`${unit.group} for ${unit.target}:\n  ${problems.join('\n  ')}`);
  return registers;
}

/** PTX without comments, indentation and constants that nothing reads: 7 % of what it takes in the package. */
function withoutLayout(ptx) {
  const lines = ptx.split('\n').map((line) =>
    line
      .replace(/\/\/.*$/, '')
      .replace(/\s+/g, ' ')
      .replace(/, /g, ',')
      .trim(),
  );
  const isRead = (symbol) => ptx.indexOf(symbol) !== ptx.lastIndexOf(symbol);
  const constant = /^\.global \.align \d+ \.u\d+ (\w+)( = \d+)?;$/;
  const kept = lines.filter((line) => {
    const symbol = constant.exec(line)?.[1];
    return line !== '' && (symbol === undefined || isRead(symbol));
  });
  return `${kept.join('\n')}\n`;
}

async function compileUnit(unit, key, compiler, flags, cache, ptxOfSource) {
  const image = join(cache, `${key}.${unit.target === 'ptx' ? 'ptx' : 'cubin'}`);
  const record = join(cache, `${key}.json`);
  if (existsSync(image) && existsSync(record))
    return { image, ...JSON.parse(readFileSync(record, 'utf8')), built: false };
  const temporary = `${image}.${process.pid}`;
  let ptx = ptxOfSource.get(unit.source);
  if (!ptx) {
    const name = `${unit.group}.cu`;
    const path = join(cache, `${sha256(key, 'front end').slice(0, 32)}.${process.pid}.ptx`);
    ptx = run(
      'python3',
      [join(KERNELS, 'compile.py'), compiler.nvrtc, path, name, `-arch=${unit.frontEnd}`, ...flags, `-I${KERNELS}`],
      unit.source,
    ).then((log) => {
      if (log.trim()) process.stderr.write(`${unit.group}: ${log}`);
      return path;
    });
    ptxOfSource.set(unit.source, ptx);
  }
  let registers = {};
  if (unit.target === 'ptx') {
    writeFileSync(temporary, withoutLayout(readFileSync(await ptx, 'utf8')));
  } else {
    const log = await run(compiler.ptxas, [...PTXAS_FLAGS, `-arch=${unit.target}`, '-o', temporary, await ptx], '');
    registers = readPtxasLog(
      unit,
      log,
      flags.some((flag) => flag.startsWith('-DATTN_FAULT')),
    );
  }
  const sha = sha256(readFileSync(temporary));
  renameSync(temporary, image);
  writeFileSync(`${record}.${process.pid}`, JSON.stringify({ registers, sha256: sha }));
  renameSync(`${record}.${process.pid}`, record);
  return { image, registers, sha256: sha, built: true };
}

/** Everything a build depends on: units, their cache keys, flags and the hash over all of it. */
function planBuild(fault) {
  const flags = [...NVRTC_FLAGS, ...(fault ? [`-DATTN_FAULT_${fault.toUpperCase()}`] : [])];
  const units = listUnits();
  const keys = units.map((unit) =>
    sha256(
      expandSource(unit.source, KERNELS),
      unit.target,
      unit.frontEnd,
      ...flags,
      ...(unit.target === 'ptx' ? [PTX_FORM] : PTXAS_FLAGS),
      COMPILER,
    ).slice(0, 32),
  );
  return { flags, units, keys, hash: sha256(...keys) };
}

async function build(options) {
  const started = Date.now();
  const { flags, units, keys, hash } = planBuild(options.fault);
  const manifestPath = join(options.out, 'manifest.json');
  if (existsSync(manifestPath)) {
    const manifest = JSON.parse(readFileSync(manifestPath, 'utf8'));
    if (manifest.hash === hash && manifest.modules.every((module) => existsSync(join(options.out, module.file)))) {
      console.log(`kernels: unchanged (${manifest.modules.length} modules)`);
      return;
    }
  }
  const compiler = findCompiler();
  const cache = join(cacheFolder(), 'kernel-objects');
  mkdirSync(cache, { recursive: true });

  const ptxOfSource = new Map();
  const results = new Array(units.length);
  let next = 0;
  /** @type {Error | null} */
  /** @type {Error[]} */
  const failures = [];
  const worker = async () => {
    while (next < units.length && failures.length === 0) {
      const i = next++;
      try {
        results[i] = await compileUnit(units[i], keys[i], compiler, flags, cache, ptxOfSource);
        if (options.verbose) console.log(units[i].group, units[i].target, JSON.stringify(results[i].registers));
      } catch (error) {
        failures.push(error instanceof Error ? error : new Error(String(error)));
      }
    }
  };
  await Promise.all(Array.from({ length: options.jobs }, worker));
  for (const path of await Promise.allSettled(ptxOfSource.values())) {
    if (path.status === 'fulfilled') rmSync(path.value, { force: true });
  }
  if (failures.length > 0) throw failures[0];

  const temporary = `${options.out}.${process.pid}`;
  rmSync(temporary, { recursive: true, force: true });
  mkdirSync(temporary, { recursive: true });
  const modules = units.map((unit, i) => {
    const file = `${unit.group}.${unit.target}.${unit.target === 'ptx' ? 'ptx' : 'cubin'}`;
    const bytes = readFileSync(results[i].image);
    if (sha256(bytes) !== results[i].sha256)
      throw new BuildError(`cache entry ${results[i].image} is damaged: delete it`);
    writeFileSync(join(temporary, file), bytes);
    return {
      file,
      target: unit.target,
      group: unit.group,
      minDriverApiVersion: MIN_DRIVER[unit.target],
      kernels: unit.kernels,
      registers: results[i].registers,
      sha256: createHash('sha256').update(bytes).digest('hex'),
    };
  });
  const manifest = {
    version: 1,
    hash,
    fault: options.fault ?? null,
    compiler: COMPILER,
    flags: [...flags, ...PTXAS_FLAGS.map((flag) => `ptxas ${flag}`)],
    minDriverApiVersion: Math.min(...Object.values(MIN_DRIVER)),
    targets: Object.keys(MIN_DRIVER),
    modules,
  };
  writeFileSync(join(temporary, 'manifest.json'), `${JSON.stringify(manifest, null, 1)}\n`);
  const lines = modules.map((module) => {
    const crc = crc32(readFileSync(join(temporary, module.file))).toString(16);
    return [module.file, module.target, module.group, module.minDriverApiVersion, crc].join('\t');
  });
  /* the same list for the C++ runner, which has no JSON reader */
  writeFileSync(join(temporary, 'modules.tsv'), `${lines.join('\n')}\n`);
  rmSync(options.out, { recursive: true, force: true });
  mkdirSync(dirname(options.out), { recursive: true });
  renameSync(temporary, options.out);
  const built = results.filter((result) => result.built).length;
  const seconds = ((Date.now() - started) / 1000).toFixed(1);
  console.log(
    `kernels: ${built} of ${units.length} modules built in ${seconds} s → ${relative(process.cwd(), options.out)}`,
  );
}

function writeSources(folder) {
  mkdirSync(folder, { recursive: true });
  for (const unit of listUnits()) writeFileSync(join(folder, `${unit.group}.${unit.target}.cu`), unit.source);
}

try {
  const options = parseOptions();
  if (options['print-hash']) console.log(planBuild().hash);
  else if (options.sources) writeSources(options.sources);
  else await build(options);
} catch (error) {
  if (!(error instanceof BuildError)) throw error;
  console.error(`kernels: ${error.message}`);
  process.exitCode = error.exitCode;
}
