/** The real helper, bundled beside the tests so that they can start it. */
import '../../extension/node/helperMain';
