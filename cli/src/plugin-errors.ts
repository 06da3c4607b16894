import { quote, SciStreamError } from '@scistream/core';
import { VERSION } from '@scistream/core/terminal';

/** Explains a failed install. @param output Output of npm */
export function installError(what: string, output: string): SciStreamError {
  if (/does not exist in the registry|E404/.test(output)) {
    return new SciStreamError('SCI_PLUGIN_NOT_FOUND', `The npm registry has no package ${quote(what)}.`, {
      suggestions: ['For a file or folder, give its path: scistream plugin install ./plugin.tgz'],
    });
  }
  if (/plugin is invalid/.test(output)) {
    return new SciStreamError('SCI_PLUGIN_MANIFEST_INVALID', `The package.json of ${what} has no key "oclif".`, {
      suggestions: ['Ask the author of the plugin to add "oclif": {} to package.json.'],
    });
  }
  if (/ERESOLVE/.test(output) && output.includes('@scistream/core')) {
    const message = `${what} requires a version of @scistream/core other than ${VERSION}.`;
    return new SciStreamError('SCI_PLUGIN_CORE_MISMATCH', message, {
      suggestions: [`Choose a compatible version: npm view ${what} versions`],
    });
  }
  return failed(`Cannot install ${what}`, output);
}

/** SCI_PLUGIN_INSTALL_FAILED with the reason from the output of npm. */
export function failed(what: string, output: string): SciStreamError {
  const lines = output.split('\n').map((line) => line.replace(/^npm (error|ERR!) ?/, '').trim());
  const said = lines.filter((line) => line !== '' && !/complete log|exited with code|^npm warn/i.test(line));
  const reason = said.slice(0, 8).join('; ') || 'npm gave no reason';
  return new SciStreamError('SCI_PLUGIN_INSTALL_FAILED', `${what}: ${reason}`.replace(/([^.])$/, '$1.'), {
    suggestions: ['Check that the npm registry is reachable: npm ping'],
  });
}
