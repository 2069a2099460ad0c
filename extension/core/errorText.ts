/** Error code → what to tell the user: one plain sentence and the next step. */
import { DiagError, type DiagErrorCode, type DiagErrorData } from './errors';
import { formatBytes, formatDriverApiVersion } from './format';

/** What is shown for an error. */
export interface ErrorText {
  /** One sentence saying what happened. */
  readonly what: string;
  /** One sentence saying what to do next. */
  readonly next: string;
}

const SEE_LOG = 'Look at the log for details, then try again.';

/** How a process ended, in words. The three signals a native fault causes are told apart. */
export function exitWords(exitCode: number | null, signal: string | null): string {
  switch (signal) {
    case 'SIGSEGV':
    case 'SIGBUS':
      return `crashed with a memory fault (${signal})`;
    case 'SIGABRT':
    case 'SIGILL':
    case 'SIGFPE':
      return `aborted (${signal})`;
    case 'SIGKILL':
      return 'was killed (SIGKILL), possibly because the machine ran out of memory';
    case null:
      return `ended with exit code ${exitCode ?? 'unknown'}`;
    default:
      return `was ended by ${signal}`;
  }
}

const TEXTS: { readonly [C in DiagErrorCode]: (data: DiagErrorData[C]) => ErrorText } = {
  cancelled: () => ({ what: 'Cancelled.', next: 'Results that were finished are kept.' }),
  usage: ({ problem }) => ({ what: problem, next: 'Run with --help to see what is possible.' }),
  requestTimeout: ({ method, deadlineMs }) => ({
    what: `The GPU helper did not answer "${method}" within ${deadlineMs / 1000} s.`,
    next: 'Try again; if it stays so, check whether nvidia-smi answers on this machine.',
  }),
  unsupportedMethod: ({ method }) => ({
    what: `The GPU helper does not know "${method}".`,
    next: 'The helper and the extension are of different versions: rebuild or reinstall the extension.',
  }),
  invalidMessage: ({ where, problem }) => ({
    what: `A message could not be understood (${where}: ${problem}).`,
    next: SEE_LOG,
  }),
  messageTooLarge: ({ limitBytes }) => ({
    what: `The GPU helper sent a message of more than ${formatBytes(limitBytes)} and was stopped.`,
    next: SEE_LOG,
  }),
  helperStartFailed: ({ path, problem }) => ({
    what: `The GPU helper ${path} could not be started: ${problem}.`,
    next: 'Rebuild or reinstall the extension.',
  }),
  helperVersion: ({ expected, got }) => ({
    what: `The GPU helper speaks protocol version ${got}, this extension version ${expected}.`,
    next: 'Reload the window; if it stays so, rebuild or reinstall the extension.',
  }),
  helperExited: ({ exitCode, signal, during }) => ({
    what: `The GPU helper ${exitWords(exitCode, signal)}${during === null ? '' : ` during ${during}`}.`,
    next: 'VS Code is not affected; try again, and look at the log if it repeats.',
  }),
  helperGaveUp: ({ attempts, last }) => ({
    what: `The GPU helper failed ${attempts} times in a row (last: ${last}).`,
    next: 'It is not started again by itself; look at the log, then ask for a new probe.',
  }),
  helperStuck: ({ pid, deviceId }) => ({
    what: `The GPU helper (process ${pid}) is stuck in the driver and cannot be killed.`,
    next: `Nothing more is started on ${deviceId ?? 'the GPUs'} until it is gone; check dmesg for Xid errors, a GPU reset or reboot may be needed.`,
  }),
  helperDisposed: () => ({ what: 'The GPU helper has been shut down.', next: 'Reload the window to use it again.' }),
  addonMissing: ({ attempts }) => ({
    what:
      attempts.length === 0
        ? 'This package has no native addon for this platform, so nothing can be measured here.'
        : `The native addon could not be loaded: ${attempts.map((attempt) => `${attempt.path}: ${attempt.error}`).join('; ')}.`,
    next: 'Use the linux-x64 package, or build it with npm start; declared and report views work without it.',
  }),
  nativeFailure: ({ call, status, name, text }) => ({
    what: `${call} failed: ${name}${status === null ? '' : ` (${status})`}${text === '' ? '' : `, ${text}`}.`,
    next: SEE_LOG,
  }),
  deviceNotFound: ({ asked, present }) => ({
    what: `There is no device "${asked}" on this machine.`,
    next: present.length === 0 ? 'No device was found at all.' : `Choose one of: ${present.join(', ')}.`,
  }),
  deviceBusy: ({ deviceId, summary }) => ({
    what: `${deviceId} is in use: ${summary}.`,
    next: 'Wait until it is free, or confirm that the run may go on beside it.',
  }),
  deviceProhibited: ({ deviceId }) => ({
    what: `${deviceId} is in compute mode "prohibited", so no process may run on it.`,
    next: 'An administrator can allow it with: nvidia-smi -c DEFAULT.',
  }),
  deviceExclusive: ({ deviceId, pids }) => ({
    what: `${deviceId} is in exclusive-process mode and process ${pids.join(', ')} holds it.`,
    next: 'Wait until that process ends, or choose another device.',
  }),
  deviceHidden: ({ deviceId, cudaVisibleDevices }) => ({
    what: `${deviceId} is hidden from CUDA programs${cudaVisibleDevices === null ? '' : ` by CUDA_VISIBLE_DEVICES=${cudaVisibleDevices}`}.`,
    next: 'Choose a visible device, or start again with a CUDA_VISIBLE_DEVICES that names it.',
  }),
  deviceIsMigParent: ({ deviceId }) => ({
    what: `MIG is enabled on ${deviceId}, so kernels run on its instances, not on the whole GPU.`,
    next: 'Choose a MIG instance (its id starts with MIG-), or make one visible through CUDA_VISIBLE_DEVICES.',
  }),
  runLocked: ({ deviceId, pid }) => ({
    what: `Another run of this tool (process ${pid}) is using ${deviceId}.`,
    next: 'Wait until it ends or cancel it there, then run again.',
  }),
  driverTooOld: ({ installed, needed, driverVersion }) => ({
    what: `The kernels need a driver for CUDA ${formatDriverApiVersion(needed)} or newer; installed is ${driverVersion === null ? '' : `${driverVersion}, `}CUDA ${formatDriverApiVersion(installed)}.`,
    next: 'Update the NVIDIA driver; until then only the CPU device can be measured.',
  }),
  kernelsMissing: () => ({
    what: 'This build has no GPU kernels, so nothing can be measured on a GPU.',
    next: 'Build them with: npm run build:kernels, or install the linux-x64 package.',
  }),
  fileUnreadable: ({ path, problem }) => ({
    what: `${path} could not be read: ${problem}.`,
    next: 'Check the path and its permissions.',
  }),
  fileUnwritable: ({ path, problem }) => ({
    what: `${path} could not be written: ${problem}.`,
    next: 'Nothing was changed; choose another place or check its permissions.',
  }),
  fileTooLarge: ({ path, bytes, limitBytes }) => ({
    what: `${path} is ${formatBytes(bytes)}, more than the ${formatBytes(limitBytes)} that are read.`,
    next: 'Choose the right file; files of this kind are far smaller.',
  }),
  reportTruncated: ({ path }) => ({
    what: `${path} ends in the middle, so the report is incomplete.`,
    next: 'Copy the file again, or write the report again.',
  }),
  notAReport: ({ path, problem }) => ({
    what: `${path} is not a report of this tool: ${problem}.`,
    next: 'Choose a file written by "attn-diag … --json" or by Export Report.',
  }),
  notACaseList: ({ path, problem }) => ({
    what: `${path} is not a list of cases: ${problem}.`,
    next: 'Write the cases as the rows of a report hold them, in one JSON list; "attn-diag run --help" names the fields.',
  }),
  reportNewer: ({ path, schema }) => ({
    what: `${path} was written by a newer version of this tool (${schema}).`,
    next: 'Update the extension to open it.',
  }),
  reportInvalid: ({ path, problem }) => ({
    what: `${path} is a damaged report: ${problem}.`,
    next: 'Write the report again.',
  }),
  fileChanged: ({ path }) => ({
    what: `${path} was changed since it was read, so nothing was written.`,
    next: 'Look at the change, then try again.',
  }),
  modelConfigInvalid: ({ path, problem }) => ({
    what: `${path} cannot be used as a model config: ${problem}`,
    next: 'Choose the config.json of a Hugging Face model.',
  }),
  interpreterUnusable: ({ path, problem }) => ({
    what: `The Python interpreter ${path} cannot be used: ${problem}.`,
    next: 'Choose the Python of the environment that has vLLM (attentionDiagnostics.pythonPath, or --python).',
  }),
  interpreterTooOld: ({ path, version }) => ({
    what: `The Python interpreter ${path} is version ${version}; the environment check needs 3.8 or newer.`,
    next: 'Choose the Python of the environment that has vLLM (attentionDiagnostics.pythonPath, or --python).',
  }),
  interpreterUnknown: () => ({
    what: 'No Python interpreter is known here, so there are no installed libraries to measure.',
    next: 'Set attentionDiagnostics.pythonPath, choose an interpreter in the Python extension, or open a folder with a .venv.',
  }),
  interpreterTimeout: ({ path, deadlineMs }) => ({
    what: `The Python interpreter ${path} did not answer within ${deadlineMs / 1000} s and was stopped.`,
    next: 'Run it once by hand; a slow network file system or start-up code of the environment may be the cause.',
  }),
  internal: ({ problem }) => ({ what: `Something unexpected happened: ${problem}.`, next: SEE_LOG }),
};

/** The sentences for anything caught. */
export function errorText(error: unknown): ErrorText {
  const known = DiagError.from(error);
  // Each entry takes the data of its own code, which a DiagError pairs by construction.
  const make = TEXTS[known.code] as (data: DiagErrorData[DiagErrorCode]) => ErrorText;
  try {
    return make(known.data);
  } catch {
    // Only data that came from a process of another version can lack a field; the code still says what happened.
    return { what: `The GPU helper reported ${known.code}.`, next: SEE_LOG };
  }
}

/** The same in one line. */
export function errorLine(error: unknown): string {
  const text = errorText(error);
  return `${text.what} ${text.next}`;
}
