/**
 * GPU sessions against the stand-in driver, which runs no kernel: every refusal of opening and every failure of a case has
 * its own status, and the next case works. What the kernels compute is tested on a GPU (test/gpu).
 */
import assert from 'node:assert/strict';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { after, before, test } from 'node:test';
import * as v from 'valibot';
import { caseResultSchema, type AttentionCase, type CaseResult } from '../../extension/core/attentionCase';
import { ADDON_PATH, fakeDriverEnv, runScript, type ChildEnd } from './support/addon';
import { makeCase, makeOptions } from './support/cases';

const GPU = 'GPU-a0111111-1111-1111-1111-111111111111';

/** CRC-32 as zlib and modules.tsv have it. */
function crc32(bytes: Uint8Array): number {
  let crc = 0xffff_ffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb8_8320 : 0);
  }
  return (crc ^ 0xffff_ffff) >>> 0;
}

const MODULE_BYTES = 'the stand-in driver accepts any image';
const GROUPS = ['prefill_d64', 'support'];

let kernelDir: string;

/** A kernel folder with the modules one small prefill case needs on an 8.x GPU. */
function writeKernelDir(minDriverApiVersion: number): void {
  const crc = crc32(Buffer.from(MODULE_BYTES)).toString(16);
  const rows = GROUPS.map((group) => {
    fs.writeFileSync(path.join(kernelDir, `${group}.sm_80.cubin`), MODULE_BYTES);
    return `${group}.sm_80.cubin\tsm_80\t${group}\t${String(minDriverApiVersion)}\t${crc}\n`;
  });
  fs.writeFileSync(path.join(kernelDir, 'modules.tsv'), rows.join(''));
}

before(() => {
  kernelDir = fs.mkdtempSync(path.join(os.tmpdir(), 'attn-kernels-'));
});
after(() => fs.rmSync(kernelDir, { recursive: true }));

/** Opens the GPU under the first script and runs one case under each; prints the error or the results. */
const SESSION_SCRIPT = `
const [addonPath, deviceId, kernelDir, scripts, spec, options] = process.argv.slice(1);
const main = async () => {
  const session = await require(addonPath).openDevice(deviceId, kernelDir === '' ? null : kernelDir);
  const results = [];
  for (const script of JSON.parse(scripts)) {
    process.env.FAKE_GPU_SCRIPT = script;
    results.push(await session.runCase(JSON.parse(spec), JSON.parse(options), () => undefined));
  }
  session.close();
  return { results };
};
main().catch((error) => ({ code: error.code, message: error.message })).then((answer) => console.log(JSON.stringify(answer)));
`;

interface Answer {
  readonly code?: string;
  readonly message?: string;
  readonly results?: readonly unknown[];
}

interface SessionSetup {
  readonly scripts: readonly string[];
  readonly deviceId?: string;
  readonly kernelDir?: string;
  readonly spec?: Partial<AttentionCase>;
  readonly env?: Readonly<Record<string, string>>;
  readonly timeoutMs?: number;
}

async function runSession(setup: SessionSetup): Promise<ChildEnd> {
  const args = [
    ADDON_PATH,
    setup.deviceId ?? GPU,
    setup.kernelDir ?? kernelDir,
    JSON.stringify(setup.scripts),
    JSON.stringify(makeCase(setup.spec)),
    JSON.stringify(makeOptions({ checkRows: 16 })),
  ];
  const env = { ...fakeDriverEnv(setup.scripts[0] ?? ''), ...setup.env };
  return runScript(SESSION_SCRIPT, args, env, setup.timeoutMs);
}

async function answerOf(setup: SessionSetup): Promise<Answer> {
  const end = await runSession(setup);
  assert.equal(end.code, 0, `${String(end.signal)} ${end.stderr}`);
  return JSON.parse(end.stdout) as Answer;
}

async function resultsOf(setup: SessionSetup): Promise<CaseResult[]> {
  const answer = await answerOf(setup);
  assert.ok(answer.results !== undefined, answer.message);
  return answer.results.map((result) => v.parse(caseResultSchema, result));
}

const REFUSALS: ReadonlyArray<readonly [title: string, setup: () => SessionSetup, code: string]> = [
  ['no libcuda', () => ({ scripts: [''], env: { ATTN_DIAG_CUDA_LIBRARY: '/nowhere/libcuda.so' } }), 'driverMissing'],
  ['a GPU that is not there', () => ({ scripts: ['devices=8.0'], deviceId: 'GPU-ffff' }), 'deviceNotFound'],
  ['no kernels', () => ({ scripts: ['devices=8.0'], kernelDir: '' }), 'kernelsMissing'],
  [
    'a kernel folder that does not exist',
    () => ({ scripts: ['devices=8.0'], kernelDir: '/nowhere' }),
    'kernelsMissing',
  ],
  ['a driver older than any kernel', () => ({ scripts: ['devices=8.0;apiVersion=11040'] }), 'driverTooOld'],
  ['cuInit failing', () => ({ scripts: ['devices=8.0;fail=cuInit:803'] }), 'CUDA_ERROR_SYSTEM_DRIVER_MISMATCH'],
  [
    'a GPU taken in exclusive mode',
    () => ({ scripts: ['devices=8.0;fail=cuCtxCreate:46'] }),
    'CUDA_ERROR_DEVICE_UNAVAILABLE',
  ],
  ['no memory for a context', () => ({ scripts: ['devices=8.0;fail=cuCtxCreate:2'] }), 'CUDA_ERROR_OUT_OF_MEMORY'],
];

for (const [title, setup, code] of REFUSALS) {
  test(`opening is refused: ${title}`, async () => {
    writeKernelDir(12000);
    const answer = await answerOf(setup());
    assert.equal(answer.code, code, answer.message);
    assert.notEqual(answer.message, '');
  });
}

test('a damaged module list and a damaged or missing module are named', async () => {
  writeKernelDir(12000);
  fs.writeFileSync(path.join(kernelDir, 'prefill_d64.sm_80.cubin'), 'truncat');
  const [damaged] = await resultsOf({ scripts: ['devices=8.0'] });
  assert.deepEqual([damaged?.status, damaged?.reason?.code], ['failed', 'kernelsInvalid']);
  assert.match(damaged?.reason?.text ?? '', /prefill_d64.*damaged/);
  fs.rmSync(path.join(kernelDir, 'prefill_d64.sm_80.cubin'));
  const [missing] = await resultsOf({ scripts: ['devices=8.0'] });
  assert.deepEqual([missing?.status, missing?.reason?.code], ['failed', 'kernelsInvalid']);
  fs.writeFileSync(path.join(kernelDir, 'modules.tsv'), 'nonsense\n');
  assert.equal((await answerOf({ scripts: ['devices=8.0'] })).code, 'kernelsInvalid');
});

test('a driver too old for the image of this GPU says both versions', async () => {
  writeKernelDir(12080);
  const [result] = await resultsOf({ scripts: ['devices=8.0;apiVersion=12020'] });
  assert.equal(result?.reason?.code, 'driverTooOld');
  assert.match(result.reason.text, /12\.8.*12\.2/);
});

test('a kernel that writes nothing is wrong, and shows no time', async () => {
  writeKernelDir(12000);
  const [result] = await resultsOf({ scripts: ['devices=8.0'] });
  assert.equal(result?.status, 'wrong');
  assert.equal(result.gpuMs, null);
  assert.equal(result.tflops, null);
  assert.equal(result.kernel?.target, 'sm_80');
});

test('Turing and Volta are unsupported for want of a bf16 instruction', async () => {
  writeKernelDir(12000);
  for (const capability of ['7.0', '7.5']) {
    const [result] = await resultsOf({ scripts: [`devices=${capability}`] });
    assert.deepEqual([result?.status, result?.reason?.code], ['unsupported', 'noBf16Mma']);
  }
});

test('both devices refuse a case without meaning in the same words', async () => {
  writeKernelDir(12000);
  const [result] = await resultsOf({ scripts: ['devices=8.0'], spec: { headDim: 7 } });
  assert.deepEqual([result?.status, result?.reason?.code], ['unsupported', 'headDim']);
});

test('out of memory is a status of its own, and the sweep goes on', async () => {
  writeKernelDir(12000);
  const [refused, tooLarge, next] = await resultsOf({
    scripts: ['devices=8.0;fail=cuMemAlloc:2', 'devices=8.0;used=8589934000', 'devices=8.0'],
  });
  assert.equal(refused?.status, 'outOfMemory');
  assert.equal(tooLarge?.status, 'outOfMemory');
  assert.match(tooLarge.reason?.text ?? '', /GPU memory/);
  assert.equal(next?.status, 'wrong', 'the next case ran');
});

test('a launch failure ends its case; the context is made anew for the next one', async () => {
  writeKernelDir(12000);
  const [failed, next] = await resultsOf({ scripts: ['devices=8.0;fail=cuLaunchKernel:719', 'devices=8.0'] });
  assert.deepEqual([failed?.status, failed?.reason?.code], ['failed', 'CUDA_ERROR_LAUNCH_FAILED']);
  assert.equal(next?.status, 'wrong', 'the next case ran');
});

test('a module the driver does not take is a failure with the name the driver gives it', async () => {
  writeKernelDir(12000);
  const [result] = await resultsOf({ scripts: ['devices=8.0;fail=cuModuleLoadData:209'] });
  assert.deepEqual([result?.status, result?.reason?.code], ['failed', 'CUDA_ERROR_NO_BINARY_FOR_GPU']);
});

test('a kernel that never ends blocks only its process', async () => {
  writeKernelDir(12000);
  const end = await runSession({ scripts: ['devices=8.0;fail=cuStreamQuery:600'], timeoutMs: 1500 });
  assert.deepEqual([end.signal, end.stdout], ['SIGKILL', '']);
});
