/*
 * Not a test: the process that first-start-killed.test.ts kills. It prepares a server as `serve` does, and says on
 * standard output, synchronously, when it begins, which password it shows, and when that is done.
 */
import { writeSync } from 'node:fs';
import { argv } from 'node:process';
import { prepareServer } from '../../src/server/first-start.js';

const [, , stateFolder = ''] = argv;
const now = (): number => Date.now();
writeSync(1, 'begin\n');
const prepared = await prepareServer({ stateFolder, config: undefined, hostName: 'killed.example', now });
if (prepared.firstPassword !== undefined) writeSync(1, `password ${prepared.firstPassword}\n`);
await prepared.passwordShown();
writeSync(1, `done ${prepared.tls?.fingerprint} ${prepared.defaultSrUuid}\n`);
