/** Variables that compilers, make and gyp take flags, programs or search paths from. */
const BUILD_VARIABLES = new Set([
  ...['AR', 'AS', 'CC', 'CXX', 'LD', 'LINK', 'NM', 'STRIP'],
  ...['CFLAGS', 'CPPFLAGS', 'CXXFLAGS', 'LDFLAGS', 'LDLIBS'],
  ...['CPATH', 'C_INCLUDE_PATH', 'CPLUS_INCLUDE_PATH', 'LIBRARY_PATH', 'COMPILER_PATH', 'GCC_EXEC_PREFIX'],
  ...['MAKE', 'MAKEFLAGS', 'MAKEFILES', 'MAKELEVEL', 'MAKEOVERRIDES', 'MFLAGS', 'GNUMAKEFLAGS', 'BUILDTYPE', 'V'],
  ...['GYP_DEFINES', 'GYP_GENERATORS', 'GYP_GENERATOR_FLAGS', 'GYP_GENERATOR_OUTPUT', 'GYP_CROSSCOMPILE'],
  ...['AR_target', 'CC_target', 'CXX_target', 'LINK_target', 'AR_host', 'CC_host', 'CXX_host', 'LINK_host'],
  // node-gyp's Python imports modules by name from there; Node loads modules from here.
  ...['PYTHONPATH', 'PYTHONHOME', 'PYTHONSTARTUP', 'PYTHONWARNINGS', 'NODE_OPTIONS', 'NODE_PATH'],
]);

/**
 * The environment node-gyp runs in: what a user has set for other builds left out, so that the addon is the same wherever
 * it is built. node-gyp takes npm's settings (except which Python: kept) over its own arguments, and an
 * `npm_config_nodedir` brings Node's compiler flags (`-fno-rtti`), with which libstdc++'s headers need a GLIBCXX above our
 * floor; a CXX or CXXFLAGS of the user's is not what the build's stamp speaks of.
 *
 * @param {NodeJS.ProcessEnv} env
 * @returns {NodeJS.ProcessEnv}
 */
export function nodeGypEnvironment(env) {
  const isNpmSetting = (/** @type {string} */ name) => /^npm_(config_|package_config_node_gyp_)(?!python$)/i.test(name);
  return Object.fromEntries(Object.entries(env).filter(([name]) => !isNpmSetting(name) && !BUILD_VARIABLES.has(name)));
}
