/** The request form: what is asked and run. */
import { html, nothing } from 'lit-html';
import type { DraftField } from '../formDraft';
import { disclosure, type View, type ViewContext } from '../view';

type TextField = Exclude<DraftField, 'op' | 'dtype' | 'causal'>;

/** The request section. */
export function requestView(context: ViewContext): View {
  const { request } = context.model;
  const preset = request.presets.find((each) => each.id === request.presetId);
  return html`<section aria-labelledby="request-title">
    <h2 id="request-title">Request</h2>
    <div class="row">
      <label class="field grow"
        ><span>Preset</span>
        <select @change=${(event: Event) => choosePreset(context, event)}>
          <option value="" .selected=${preset === undefined}>Your own</option>
          ${request.presets.map(
            (each) => html`<option value=${each.id} .selected=${each.id === request.presetId}>${each.title}</option>`,
          )}
        </select></label
      >
      <p class="quiet grow2">
        ${preset?.description ?? 'Head sizes and page layouts below are what the matrix shows and what Run measures.'}
      </p>
    </div>
    ${disclosure(context, 'request', requestSummary(context), fields(context))}
  </section>`;
}

function requestSummary({ draft }: ViewContext): View {
  return html`<span class="group">${draft.op} ${draft.dtype}</span> head sizes ${draft.headDims} · ${draft.pageSizes}`;
}

function choosePreset({ send }: ViewContext, event: Event): void {
  const presetId = (event.target as HTMLSelectElement).value;
  if (presetId !== '') send({ type: 'applyPreset', presetId });
}

function fields(context: ViewContext): View {
  const { draft, setDraft } = context;
  return html`<div class="form">
    <label class="field"
      ><span>Operation</span>
      <select
        @change=${(event: Event) => setDraft({ op: (event.target as HTMLSelectElement).value as typeof draft.op })}
      >
        ${(['prefill', 'decode', 'mlaDecode'] as const).map(
          (op) => html`<option value=${op} .selected=${op === draft.op}>${OP_WORDS[op]}</option>`,
        )}
      </select></label
    >
    <label class="field"
      ><span>Type</span>
      <select
        @change=${(event: Event) => setDraft({ dtype: (event.target as HTMLSelectElement).value as typeof draft.dtype })}
      >
        ${(['bf16', 'fp16'] as const).map(
          (dtype) => html`<option value=${dtype} .selected=${dtype === draft.dtype}>${dtype}</option>`,
        )}
      </select></label
    >
    ${textField(context, 'headDims', 'Head sizes', 'wide')} ${textField(context, 'pageSizes', 'KV page sizes', 'wide')}
    ${textField(context, 'qHeads', 'Query heads')} ${textField(context, 'kvHeads', 'KV heads')}
    ${textField(context, 'batch', 'Batch')} ${textField(context, 'qLen', 'Query length')}
    ${textField(context, 'kvLen', 'KV length')}
    <label class="check"
      ><input
        type="checkbox"
        .checked=${draft.causal}
        @change=${(event: Event) => setDraft({ causal: (event.target as HTMLInputElement).checked })}
      />
      Causal mask</label
    >
  </div>`;
}

const OP_WORDS = { prefill: 'Prefill', decode: 'Decode', mlaDecode: 'MLA decode' } as const;

function textField(context: ViewContext, field: TextField, label: string, size: '' | 'wide' = ''): View {
  const { draft, parsedDraft, setDraft } = context;
  const problem = parsedDraft.ok ? undefined : parsedDraft.problems[field];
  const problemId = `problem-${field}`;
  return html`<label class="field ${size}"
    ><span>${label}</span>
    <input
      type="text"
      spellcheck="false"
      autocomplete="off"
      .value=${draft[field]}
      aria-invalid=${problem === undefined ? 'false' : 'true'}
      aria-describedby=${problem === undefined ? nothing : problemId}
      @input=${(event: Event) => setDraft({ [field]: (event.target as HTMLInputElement).value })}
    />
    ${problem === undefined ? nothing : html`<span class="problem" id=${problemId}>${problem}</span>`}
  </label>`;
}
