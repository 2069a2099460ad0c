/**
 * The panel's side of the wire. The panel sends intents from this closed list and nothing else: no paths, no commands,
 * no setting keys. The host answers every change with one complete snapshot (never a delta), see core/viewModels.ts.
 */
import * as v from 'valibot';
import { requestFormSchema } from '../core/measure/requestForm';

export type { RequestForm } from '../core/measure/requestForm';

export const PANEL_PROTOCOL_VERSION = 1;

const id = v.pipe(v.string(), v.minLength(1), v.maxLength(200));
const release = v.pipe(v.string(), v.regex(/^\d{1,4}\.\d{1,4}[\w.+-]{0,80}$/));
const boundedInt = (min: number, max: number) => v.pipe(v.number(), v.integer(), v.minValue(min), v.maxValue(max));

/** Everything the panel may ask for. */
export const intentSchema = v.variant('type', [
  v.object({ type: v.literal('ready'), protocolVersion: v.number() }),
  v.object({ type: v.literal('probe') }),
  v.object({ type: v.literal('selectDevice'), deviceId: id }),
  v.object({
    type: v.literal('setWhatIfFamily'),
    capability: v.nullable(v.tuple([boundedInt(1, 99), boundedInt(0, 9)])),
  }),
  v.object({ type: v.literal('setSystemFlashAttn'), on: v.boolean() }),
  v.object({ type: v.literal('setRequest'), request: requestFormSchema }),
  v.object({ type: v.literal('applyPreset'), presetId: id }),
  v.object({ type: v.literal('run') }),
  /** The same cases through installed libraries too: all of them, or both FlashAttention 4. */
  v.object({ type: v.literal('measureBackends'), which: v.picklist(['all', 'flashAttn4']) }),
  /** The answer "run all the same" to the busy-GPU question; `cancelRun` is the other one. */
  v.object({ type: v.literal('confirmRun') }),
  v.object({ type: v.literal('cancelRun') }),
  v.object({ type: v.literal('applyFix'), findingId: id, fixId: id }),
  v.object({ type: v.literal('revealFinding'), findingId: id }),
  /** The upgrade what-if; `null` = the release asked about, and the newest known. */
  v.object({ type: v.literal('compareReleases'), from: v.nullable(release), to: v.nullable(release) }),
  v.object({ type: v.literal('selectModel') }),
  v.object({ type: v.literal('copyServeArgs') }),
  /** Asks the installed vLLM itself about the request on screen. */
  v.object({ type: v.literal('validateSelection') }),
  v.object({ type: v.literal('exportBugReport') }),
  v.object({ type: v.literal('exportReport') }),
  v.object({ type: v.literal('openReport') }),
  v.object({ type: v.literal('closeReport') }),
  v.object({ type: v.literal('showLog') }),
  v.object({ type: v.literal('manageTrust') }),
]);
export type Intent = v.InferOutput<typeof intentSchema>;

/** Host → panel. `model` is a `PanelModel` of core/viewModels.ts; the host builds it, so it is typed there, not parsed. */
export interface SnapshotMessage<PanelModel> {
  readonly type: 'snapshot';
  readonly protocolVersion: number;
  /** Counts up; an older snapshot arriving late is dropped. */
  readonly sequence: number;
  readonly model: PanelModel;
}
