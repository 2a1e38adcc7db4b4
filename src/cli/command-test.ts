import { Command } from 'commander';
import { testFaultsCommand } from './command-test-faults.js';
import { testKeyCommand } from './command-test-key.js';
import { testPatchCommand } from './command-test-patch.js';
import { testSuiteCommand } from './command-test-suite.js';
import { testVdiCommand } from './command-test-vdi.js';
import type { CommandContext } from './program.js';

/** The test kit: what somebody needs who writes an importer, a host or a pool, and has no Xen host at hand. */
export function testCommand(context: CommandContext): Command {
  return new Command('test')
    .summary('make keys, patches and images to test with')
    .description(
      'Makes what importers, hosts and pools can be tested with, without a Xen host or a release key.',
    )
    .addCommand(testKeyCommand(context))
    .addCommand(testPatchCommand(context))
    .addCommand(testVdiCommand(context))
    .addCommand(testFaultsCommand(context))
    .addCommand(testSuiteCommand(context));
}
