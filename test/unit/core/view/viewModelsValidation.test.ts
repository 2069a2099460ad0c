/** What the panel says about asking the installed vLLM. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { panelModel } from '../../../../extension/core/view/viewModels';
import { evaluated, hopperState } from '../../../ui/support/states';
import { askableState, askingState, validatedState } from '../../../ui/support/validatedState';

const shown = (state: Parameters<typeof panelModel>[0]) => panelModel(state).rules.validation;

test('it can be asked where a vLLM was inspected, in a trusted workspace, one question at a time', () => {
  assert.deepEqual(shown(hopperState()), { canAsk: false, asking: false, text: null, canReport: false });
  assert.equal(shown(askableState()).canAsk, true);
  assert.equal(shown({ ...askableState(), trusted: false }).canAsk, false);
  const asking = shown(askingState());
  assert.deepEqual([asking.canAsk, asking.asking], [false, true]);
  assert.match(asking.text ?? '', /10 to 40 seconds/);
});

test('its answer is shown as validated, contradictions as findings with the bug report as fix', () => {
  const model = panelModel(validatedState());
  assert.match(
    model.rules.validation.text ?? '',
    /vLLM 0\.33\.0 was asked itself .*contradicts the catalog in \d+ places/,
  );
  assert.equal(model.rules.validation.canReport, true);
  assert.deepEqual(new Set(model.rules.selections.map((each) => each.level)), new Set(['validated']));
  assert.match(model.rules.selections[0]?.text ?? '', /^TRITON_ATTN/);
  const finding = model.findings.find((each) => each.code === 'catalogContradiction');
  assert.deepEqual([finding?.level, finding?.fixes.map((fix) => fix.id)], ['validated', ['export-bug-report']]);
});

test('an answer to an older question is neither shown nor exported', () => {
  const later = evaluated({ ...validatedState(), whatIfCapability: [10, 0] });
  const model = panelModel(later);
  assert.match(model.rules.validation.text ?? '', /about something else/);
  assert.equal(model.rules.validation.canReport, false);
  assert.deepEqual(new Set(model.rules.selections.map((each) => each.level)), new Set(['declared']));
});
