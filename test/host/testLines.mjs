/** Marks a console line of the in-host tests among everything else that a workbench writes to the same console. */
export const TEST_LINE_PREFIX = '[test] ';
