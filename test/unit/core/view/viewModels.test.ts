/** What panel and status bar say in every state. The rules behind the matrix are the real ones. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { addRow, type AppState } from '../../../../extension/core/state/appState';
import type { ResultRow } from '../../../../extension/core/attentionCase';
import { expandForm } from '../../../../extension/core/measure/caseGrid';
import { emptyResult } from '../../../../extension/core/measure/emptyResult';
import { serveArgs } from '../../../../extension/core/serve/serveArgs';
import { failed, IDLE, loading, ready } from '../../../../extension/core/state/store';
import type { Question } from '../../../../extension/core/verdict';
import { panelModel, type PanelModel } from '../../../../extension/core/view/viewModels';
import { runBlocked } from '../../../../extension/core/view/viewModelsRun';
import { statusBarModel } from '../../../../extension/core/view/viewModelsStatusBar';
import { DEFAULT_SERVE_SETTINGS } from '../../../../extension/core/request';
import {
  CPU,
  evaluated,
  factsOf,
  freshState,
  H200,
  hopperState,
  measuredState,
  noGpuState,
  okRow,
  STATES,
} from '../../../ui/support/states';

const FAILURE = { code: 'helperExited', what: 'The helper crashed.', next: 'Try again.' };

/** A verdict of the matrix by names. */
function verdict(model: PanelModel, subject: string, headDim: number, pageSize: number | null, question: Question) {
  const { matrix } = model;
  const layout = matrix.layouts.findIndex((each) => each.pageSize === pageSize);
  const row = matrix.subjects.findIndex((each) => each.id === subject);
  const column = matrix.headDims.indexOf(headDim);
  const pair = matrix.cells[layout]?.[row]?.[column];
  assert.ok(pair, `no cell ${subject} ${headDim} ${pageSize}`);
  return matrix.verdicts[pair[question === 'selects' ? 0 : 1]];
}

function withFlag(state: AppState): AppState {
  return { ...state, flag: { value: true, setIn: 'workspace' } };
}

describe('status bar', () => {
  it('says that nothing was probed, in words too', () => {
    const model = statusBarModel(freshState());
    assert.equal(model.text, 'GPU: not probed');
    assert.equal(model.probed, false);
    assert.match(model.accessibilityLabel, /has not been probed, use_system_flash_attn off/);
  });

  it('shows family, verdict and, when it is on, the flag', () => {
    const narrow = evaluated({ ...hopperState(), form: { ...hopperState().form, headDims: [128] } });
    assert.equal(statusBarModel(narrow).text, 'SM90 · FLASH_ATTN (FA3)');
    const on = statusBarModel(withFlag(narrow));
    assert.match(on.text, /^SM90 · FLASH_ATTN \(FA3\) · system FA on$/);
    assert.match(on.accessibilityLabel, /SM 9\.0 Hopper, use_system_flash_attn on/);
  });

  it('marks facts of an earlier session, and a what-if family', () => {
    const stale = { ...hopperState(), facts: { status: 'ready', value: factsOf([H200, CPU]), stale: true } } as const;
    assert.match(statusBarModel(stale).text, /\(stale\)$/);
    assert.match(statusBarModel(stale).accessibilityLabel, /earlier session/);
    const whatIf = evaluated({ ...noGpuState(), whatIfCapability: [10, 0] });
    assert.match(statusBarModel(whatIf).text, /^if SM100 · /);
  });

  it('never shows an icon without saying the same in words', () => {
    for (const [name, make] of Object.entries(STATES)) {
      const { text, accessibilityLabel } = statusBarModel(make());
      assert.doesNotMatch(accessibilityLabel, /\$\(|·/, name);
      if (text.includes('$(sync~spin)')) assert.match(accessibilityLabel, /running|probing/, name);
    }
  });

  it('says why a probe failed', () => {
    const model = statusBarModel({ ...freshState(), facts: failed(IDLE, FAILURE) });
    assert.match(model.text, /probe failed/);
    assert.equal(model.tooltipNote, 'The helper crashed. Try again.');
  });
});

describe('device section', () => {
  it('names what was tried when there is no GPU, and what runs instead', () => {
    const { device } = panelModel(noGpuState());
    assert.match(device.sentences.join(' '), /no NVIDIA driver library could be opened.*CPU reference device/);
    assert.ok(device.attempts.some((line) => line.includes('cannot open shared object file')));
    assert.equal(device.badge, null);
  });

  it('says why this installation cannot measure, instead of claiming that there is no GPU', () => {
    const facts = { ...factsOf([CPU]), loadAttempts: [] };
    const capabilities = {
      platform: 'darwin-arm64',
      measureBlocked: 'Kernels run on linux-x64 only.',
      virtualWorkspace: false,
    };
    const { device } = panelModel({ ...freshState(), facts: ready(facts), capabilities });
    assert.deepEqual(device.sentences, ['Kernels run on linux-x64 only.']);
  });

  it("quotes the driver's refusal", () => {
    const facts = {
      ...factsOf([CPU]),
      driverErrors: [{ call: 'cuInit', code: 100, name: 'CUDA_ERROR_NO_DEVICE', text: 'no CUDA-capable device' }],
    };
    const { device } = panelModel({ ...freshState(), facts: ready(facts) });
    assert.match(device.sentences[0] ?? '', /cuInit answered CUDA_ERROR_NO_DEVICE \(100\)/);
  });

  it('keeps the last facts while a probe is on and after one failed', () => {
    const before = hopperState().facts;
    for (const facts of [loading(before), failed(before, FAILURE)]) {
      const { device } = panelModel({ ...hopperState(), facts });
      assert.equal(device.badge?.label, 'SM90');
      assert.equal(device.options.length, 2);
    }
  });

  it('has sentences for MIG, prohibited and exclusive modes and hidden GPUs', () => {
    const about = (change: Partial<typeof H200>): string =>
      panelModel({ ...freshState(), facts: ready(factsOf([{ ...H200, ...change }, CPU])) }).device.sentences.join(' ');
    assert.match(about({ migEnabled: true }), /MIG-/);
    assert.match(about({ computeMode: 'prohibited' }), /nvidia-smi -c DEFAULT/);
    assert.match(about({ computeMode: 'exclusiveProcess' }), /exclusive-process/);
    assert.match(about({ cudaIndex: null }), /CUDA_VISIBLE_DEVICES/);
    assert.equal(about({}), '');
  });
});

describe('matrix section', () => {
  it('keeps the two questions apart and gives reasons with sources', () => {
    const model = panelModel(hopperState());
    const works = verdict(model, 'FLASH_ATTN.FA3', 512, 16, 'works');
    assert.equal(works?.answer, 'no');
    assert.equal(works.level, 'declared');
    assert.ok(works.reasons[0]?.source);
    assert.equal(verdict(model, 'bundled', 128, 16, 'selects'), undefined);
  });

  it('lays measured answers over declared ones, a wrong one as no', () => {
    const model = panelModel(measuredState());
    assert.deepEqual(
      [128, 512].map((headDim) => verdict(model, 'bundled', headDim, null, 'works')?.answer),
      ['yes', 'no'],
    );
    assert.equal(verdict(model, 'bundled', 128, null, 'works')?.level, 'measured');
    assert.equal(verdict(model, 'bundled', 512, 16, 'works')?.level, 'declared', 'out of memory says nothing');
  });

  it('never lets a bundled kernel change the verdict on a backend', () => {
    const before = panelModel(hopperState());
    const after = panelModel(measuredState());
    for (const question of ['selects', 'works'] as const) {
      assert.deepEqual(
        verdict(after, 'FLASH_ATTN.FA3', 128, null, question),
        verdict(before, 'FLASH_ATTN.FA3', 128, null, question),
      );
    }
  });

  it('does not show measurements of this device for another family', () => {
    const state = evaluated({ ...measuredState(), whatIfCapability: [10, 0] });
    assert.equal(verdict(panelModel(state), 'bundled', 128, null, 'works')?.level, 'declared');
  });

  it('lists every cell the flag changes, the same in both positions of the switch', () => {
    const off = panelModel(hopperState()).matrix;
    const on = panelModel(withFlag(hopperState())).matrix;
    assert.ok(off.flagChanges.length > 0);
    assert.equal(off.flagChanges.length, on.flagChanges.length);
    for (const change of on.flagChanges) {
      const pair = on.cells[change.layout]?.[change.subject]?.[change.headDim];
      assert.equal(pair?.[change.question === 'selects' ? 0 : 1], change.on);
    }
  });

  it('says what it leaves out, and why it is empty', () => {
    const wide = { ...hopperState().form, headDims: Array.from({ length: 20 }, (_, index) => 8 * (index + 1)) };
    assert.match(panelModel(evaluated({ ...hopperState(), form: wide })).matrix.note ?? '', /4 more head sizes/);
    assert.match(panelModel(freshState()).matrix.note ?? '', /Probe this machine/);
    assert.match(panelModel(noGpuState()).matrix.note ?? '', /Choose an SM family/);
  });

  it('shows only MLA backends for an MLA request and none for others', () => {
    const ids = (op: 'prefill' | 'mlaDecode'): readonly string[] =>
      panelModel(
        evaluated({ ...hopperState(), form: { ...hopperState().form, op, headDims: [576] } }),
      ).matrix.subjects.map((subject) => subject.id);
    assert.ok(ids('mlaDecode').includes('FLASHMLA'));
    assert.ok(!ids('mlaDecode').includes('TRITON_ATTN'));
    assert.ok(ids('prefill').includes('TRITON_ATTN'));
    assert.ok(!ids('prefill').includes('FLASHMLA'));
  });
});

describe('run section', () => {
  it('is blocked with a sentence and the next step, in order of what hinders first', () => {
    const state = hopperState();
    assert.equal(runBlocked(state), null);
    assert.equal(runBlocked({ ...state, trusted: false })?.trust, true);
    assert.match(
      runBlocked({ ...state, capabilities: { ...state.capabilities, measureBlocked: 'No helper here.' } })?.sentence ??
        '',
      /No helper here/,
    );
    assert.match(runBlocked(STATES['report']?.() ?? state)?.sentence ?? '', /Close it/);
    assert.match(
      runBlocked({ ...state, form: { ...state.form, qHeads: 32, kvHeads: 5 } })?.sentence ?? '',
      /multiple of KV heads \(5\)/,
    );
  });

  it('shows the figures of a busy GPU', () => {
    const busy = panelModel(STATES['busy']?.() ?? freshState()).run.busy;
    assert.ok(busy);
    assert.match(
      busy.figures.map(({ label, value }) => `${label} ${value}`).join('; '),
      /87 %.*12\.0 GiB of 140\.4 GiB/,
    );
  });

  it('counts how the cases ended, also after a cancel before the first', () => {
    const run = { kind: 'finished', ended: 'cancelled', deviceId: 'cpu', counts: {}, failure: null } as const;
    assert.match(panelModel({ ...noGpuState(), run }).run.finished ?? '', /before the first case/);
    const some = { ...run, counts: { ok: 2, wrong: 1 } };
    assert.equal(
      panelModel({ ...noGpuState(), run: some }).run.finished,
      'Cancelled. Finished rows are kept: 2 ok, 1 wrong result.',
    );
  });
});

describe('results section', () => {
  it('shows no time and no bar for a row that is not ok', () => {
    for (const row of panelModel(measuredState()).results.rows.filter((each) => each.status !== 'ok')) {
      assert.equal(row.median, '–');
      assert.equal(row.bar, null);
      assert.ok(row.reason);
    }
  });

  it('labels CPU rows and contended rows', () => {
    assert.ok(panelModel(STATES['cpuRows']?.() ?? freshState()).results.rows.every((row) => row.onCpu));
    assert.deepEqual(
      panelModel(measuredState())
        .results.rows.map((row) => row.contended)
        .indexOf(true),
      3,
    );
  });

  it('counts decode in bytes and prefill in operations', () => {
    const form = { ...hopperState().form, op: 'decode', headDims: [128], pageSizes: [null] } as const;
    const [attentionCase] = expandForm({ ...form, headDims: [...form.headDims], pageSizes: [...form.pageSizes] });
    assert.ok(attentionCase);
    const row = okRow(attentionCase, H200.id, 0);
    const rows: ResultRow[] = [{ ...row, result: { ...row.result, tbps: 4.2, tflops: 30 } }];
    assert.equal(panelModel({ ...hopperState(), rows }).results.rows[0]?.rate, '4.20 TB/s');
  });

  it('replaces the row of the same question and keeps the rest', () => {
    const { rows } = measuredState();
    const [first] = rows;
    assert.ok(first);
    const again = { ...first, result: emptyResult('timeout', 'TIMEOUT', 'Took too long.') };
    const next = addRow(rows, again);
    assert.equal(next.length, rows.length);
    assert.equal(next.at(-1), again);
    assert.equal(addRow(rows, { ...first, deviceId: 'cpu' }).length, rows.length + 1);
  });
});

describe('report view', () => {
  it("shows the report's machine in place of this one, and says so", () => {
    const model = panelModel(STATES['report']?.() ?? freshState());
    assert.match(model.report?.text ?? '', /h200\.json.*redacted.*from that machine, not from this one/);
    assert.equal(model.device.badge?.label, 'SM90');
    assert.equal(model.results.rows.length, measuredState().rows.length);
    assert.deepEqual(model.matrix.headDims, [128, 256, 512, 520], 'the head sizes of its rows');
    assert.equal(verdict(model, 'bundled', 128, 16, 'works')?.level, 'measured');
    assert.equal(verdict(model, 'FLASH_ATTN.FA2', 128, null, 'selects')?.answer, 'yes');
  });
});

describe('flag section', () => {
  it('says where it is set and when the serve file differs', () => {
    const serve = {
      name: 'serve.yaml',
      settings: DEFAULT_SERVE_SETTINGS,
      useSystemFlashAttn: true,
      mlaDisabled: false,
      findings: [],
    };
    const { flag } = panelModel({ ...hopperState(), serve: ready(serve) });
    assert.equal(flag.where, 'Not set: this is the default.');
    assert.equal(flag.differsFromServeFile, true);
    assert.match(flag.serveFile ?? '', /serve\.yaml sets it to true, which differs/);
    assert.equal(panelModel(withFlag(hopperState())).flag.where, 'Set in workspace settings.');
  });
});

describe('serve arguments', () => {
  it('pins backend and version in the spelling of the release, and leaves out a field it does not have', () => {
    const narrow = { ...hopperState(), form: { ...hopperState().form, headDims: [128] } };
    const modern = evaluated({ ...narrow, vllmVersion: { value: '0.24.0', setIn: 'user' } });
    assert.equal(serveArgs(modern).text, '--attention-backend FLASH_ATTN --attention-config.flash_attn_version=3');
    assert.match(serveArgs(withFlag(modern)).note ?? '', /would not start/);
    assert.doesNotMatch(serveArgs(withFlag(modern)).text, /use_system_flash_attn/);
    const old = evaluated({ ...narrow, vllmVersion: { value: '0.12.0', setIn: 'user' } });
    assert.match(serveArgs(old).text, /^VLLM_ATTENTION_BACKEND=FLASH_ATTN/);
  });

  it('refuses when there is nothing to pin', () => {
    assert.throws(() => serveArgs(noGpuState()), /nothing to copy/);
  });
});
