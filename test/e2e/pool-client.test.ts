/*
 * One test or two for each command of `patch-vdi pool`, against one served pool: long, as the list of commands is.
 */
import { readFileSync } from 'node:fs';
import { randomBytes } from 'node:crypto';
import { beforeEach, describe, expect, test } from 'vitest';
import { NULL_REF, ReplayError } from '../oracles/xapi-replay.js';
import { requireTool } from '../oracles/require-tool.js';
import { addPatch, expectFits, poolScene, uuid, type PoolScene } from './pool-client.js';

beforeEach((context) => requireTool(context, 'openssl'));

const FILE_ON_MASTER = { VDI: NULL_REF, after_apply_guidance: [] };

describe('patches', () => {
  test('lists them with where their bytes are, in 80 columns', async () => {
    const { pool, run } = await poolScene();
    addPatch(pool, 'XS62ESP1', 'c');
    addPatch(pool, 'A name that is longer than what is left of the line', 'd', FILE_ON_MASTER);
    pool.contents.set(uuid('d'), Buffer.from('x'));
    addPatch(pool, 'XS65', 'e', {
      VDI: 'OpaqueRef:gone',
      host_patches: ['OpaqueRef:hp'],
      after_apply_guidance: ['restartHost', 'restartXAPI'],
    });
    const { exitCode, stdout, stderr } = await run(['patches']);
    expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' });
    expect(stdout.split('\n')).toEqual([
      'UUID                                  SIZE     VERSION  NAME',
      'dddddddd-1111-4111-8111-111111111111  700 MiB  1.0      A name that is longer t…',
      '    in a file on the master',
      'cccccccc-1111-4111-8111-111111111111  700 MiB  1.0      XS62ESP1',
      '    in VDI cccccccc-2222-4111-8111-111111111111 on Local storage; afterwards',
      '    restartHost',
      'eeeeeeee-1111-4111-8111-111111111111  700 MiB  1.0      XS65',
      '    its bytes are gone: upload it again; applied to some hosts; afterwards',
      '    restartHost restartXAPI',
      '',
    ]);
    expectFits(stdout);
  });

  test('as JSON', async () => {
    const { pool, json } = await poolScene();
    addPatch(pool, 'XS62ESP1', 'c');
    const [, { uuid: sr }] = [...pool.tables.SR][0] as [string, { uuid: string }];
    expect(await json(['patches'])).toEqual({
      ok: true,
      server: pool.url,
      stored: [],
      warnings: [],
      patches: [
        {
          uuid: uuid('c'),
          nameLabel: 'XS62ESP1',
          nameDescription: 'XS62ESP1 for tests',
          version: '1.0',
          sizeBytes: 734_003_200,
          place: { kind: 'vdi', uuid: 'cccccccc-2222-4111-8111-111111111111', sr, srName: 'Local storage' },
          poolApplied: false,
          hostCount: 0,
          afterApplyGuidance: ['restartHost'],
        },
      ],
    });
  });

  test('of a XenServer, which knows no VDIs of patches', async () => {
    const { pool, json } = await poolScene();
    const { patch } = addPatch(pool, 'XS62ESP1', 'c');
    delete pool.tables.pool_patch.get(patch)?.['VDI'];
    expect(await json(['patches'])).toMatchObject({ patches: [{ place: { kind: 'nowhere' } }] });
    pool.contents.set(uuid('c'), Buffer.alloc(1_000_000));
    expect(await json(['patches'])).toMatchObject({ patches: [{ place: { kind: 'file' } }] });
    pool.intercept = (request, response) => {
      if (request.method !== 'GET') return false;
      const error = { code: 'RBAC_PERMISSION_DENIED', parameters: ['http/get_pool_patch_download', 'no'] };
      response.writeHead(403, { 'content-type': 'application/json' }).end(JSON.stringify({ error }));
      return true;
    };
    expect(await json(['patches'])).toMatchObject({ patches: [{ place: { kind: 'unknown' } }] });
  });

  test('whatever a server calls them, the terminal shows it and does not obey', async () => {
    const { pool, run } = await poolScene();
    addPatch(pool, '\u001b[2J\u001b]0;owned\u0007\u202Eevil', 'c', {
      version: '\u009b31m',
      uuid: `\u001b[1m${'x'.repeat(200)}`,
      after_apply_guidance: ['\r\nroot# ', 'y'.repeat(300)],
    });
    pool.tables.SR.forEach((record) => (record['name_label'] = '\u0007'.repeat(50)));
    for (const command of ['patches', 'vdis', 'srs']) {
      const { exitCode, stdout } = await run([command]);
      expect(exitCode).toBe(0);
      expect(stdout).not.toMatch(/[^\P{Cc}\n]|[\u202A-\u202E]/u);
      expectFits(stdout);
    }
  });
});

describe('upload and download', () => {
  test('a file goes in and the same bytes come out', async () => {
    const { work, pool, run } = await poolScene();
    const content = randomBytes(2_000_003);
    const { exitCode, stdout, stderr } = await run(['upload', work.input('hotfix', content)]);
    expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' });
    const [[, record]] = [...pool.tables.pool_patch] as [[string, { uuid: string; name_label: string }]];
    expect(stdout.split('\n').slice(0, 5)).toEqual([
      `uploaded to ${pool.url}`,
      `  patch     ${record.uuid}`,
      `  name      ${record.name_label}`,
      '  version   1.0',
      '  size      1.91 MiB (2000003 bytes)',
    ]);
    expectFits(stdout);
    const output = work.output('back');
    // By the start of its uuid.
    const back = await run(['download', record.uuid.slice(0, 8), '-o', output]);
    expect(back).toMatchObject({ exitCode: 0, stderr: '' });
    expect(readFileSync(output).equals(content)).toBe(true);
    expect(pool.sessions.size).toBe(0);
    expect(pool.tables.task.size).toBe(0);
  });

  test('through pipes, with and without a length', async () => {
    const { work, pool, json, run } = await poolScene();
    const content = randomBytes(700_001);
    const path = work.input('hotfix', content);
    const stdin = { path, through: 'pipe' } as const;
    await json(['upload', '-', '--content-length', '700001'], { stdin });
    await json(['upload', '-'], { stdin });
    const [one, other] = pool.requests.filter(({ method }) => method === 'PUT');
    expect(one?.headers['content-length']).toBe('700001');
    expect(other?.headers['transfer-encoding']).toBe('chunked');
    const output = work.output('back');
    const [record] = [...pool.tables.pool_patch.values()] as [{ uuid: string }];
    const stdout = { path: output, through: 'pipe' } as const;
    const ended = await run(['download', record.uuid, '-o', '-', '--json'], { stdout });
    expect(JSON.parse(ended.stderr)).toMatchObject({
      ok: true,
      sizeBytes: 700_001,
      output: 'standard output',
    });
    expect(readFileSync(output).equals(content)).toBe(true);
  });

  test('a storage repository is named by its name, or by the start of its uuid', async () => {
    const { work, pool, json, run } = await poolScene();
    const path = work.input('hotfix', 'x'.repeat(1000));
    const shared = [...pool.tables.SR.values()].find(({ type }) => type === 'nfs') as { uuid: string };
    expect(await json(['upload', path, '--sr', 'Shared storage'])).toMatchObject({
      patch: { place: { kind: 'vdi', srName: 'Shared storage', sr: shared.uuid } },
    });
    await json(['upload', path, '--sr', shared.uuid.slice(0, 9)]);
    const { exitCode, stderr } = await run(['upload', path, '--sr', 'No storage']);
    expect(exitCode).toBe(2);
    expect(stderr).toContain('there is no storage repository called "No storage"');
  });

  test('after a download that broke off no file has the name', async () => {
    const { work, pool, run } = await poolScene();
    addPatch(pool, 'XS62ESP1', 'c', { size: 1_000_000 });
    pool.intercept = (request, response) => {
      if (request.method !== 'GET') return false;
      response.writeHead(200, { 'content-length': '1000000' });
      response.write(Buffer.alloc(300_000), () => setTimeout(() => request.socket.destroy(), 20));
      return true;
    };
    const { exitCode, stderr } = await run(['download', 'XS62ESP1', '-o', work.output('back')]);
    expect(exitCode).toBe(8);
    expect(stderr).toContain('the download broke off');
    expect(work.outputs()).toEqual([]);
  });

  test('bytes that the record does not announce are not taken', async () => {
    const { work, pool, run } = await poolScene();
    const { exitCode, stderr } = await run(['upload', work.input('hotfix', 'x'.repeat(1000))]);
    expect(exitCode, stderr).toBe(0);
    const [record] = [...pool.tables.pool_patch.values()] as [{ uuid: string; size: number }];
    record.size = 999;
    const ended = await run(['download', record.uuid, '-o', work.output('back')]);
    expect(ended.exitCode).toBe(8);
    expect(ended.stderr).toContain('other bytes of that patch than its record says');
    expect(work.outputs()).toEqual([]);
  });

  test('an output that is there is refused before anybody is asked', async () => {
    const { work, pool, run } = await poolScene();
    const there = work.input('there', 'mine');
    const { exitCode } = await run(['download', 'x', '-o', there]);
    expect(exitCode).toBe(2);
    expect(pool.requests).toEqual([]);
    expect(readFileSync(there, 'utf8')).toBe('mine');
  });

  test.for([
    [['INVALID_PATCH'], 3, 'signature does not hold'],
    [['INVALID_PATCH_WITH_LOG', 'exit 7\u001b[2J'], 4, 'it is none'],
    [['OUT_OF_SPACE', 'Local storage'], 5, 'Local storage'],
    [['HOST_HAS_NO_PATCH_SR', 'OpaqueRef:h'], 8, '--sr'],
    [['RBAC_PERMISSION_DENIED', 'pool_patch.upload', 'no'], 8, 'pool_patch.upload'],
    [['SOMETHING_NEW', 'a', 'b'], 8, 'SOMETHING_NEW (a, b)'],
    [['INTERNAL_ERROR', 'Stack_overflow'], 8, 'Stack_overflow'],
  ] as const)('an upload that is refused with %j ends with %i', async ([description, code, words]) => {
    const { work, pool, run } = await poolScene();
    pool.judge = () => {
      throw new ReplayError(...description);
    };
    const { exitCode, stdout, stderr } = await run(['upload', work.input('hotfix', 'x'.repeat(1000))]);
    expect({ exitCode, stdout }).toEqual({ exitCode: code, stdout: '' });
    expect(stderr.replaceAll(/\s+/g, ' ')).toContain(words);
    expect(stderr).toContain('left behind');
    expectFits(stderr);
    expect(pool.sessions.size).toBe(0);
  });
});

describe('objects', () => {
  test('that several names could mean are listed, and nothing is done', async () => {
    const { pool, run } = await poolScene();
    addPatch(pool, 'twin', 'a', { uuid: 'aaaaaaaa-1111-4111-8111-111111111111' });
    addPatch(pool, 'twin', 'b', { uuid: 'aaaaaaaa-2222-4111-8111-111111111111' });
    for (const wanted of ['twin', 'aaaa']) {
      const { exitCode, stderr } = await run(['destroy', wanted]);
      expect(exitCode).toBe(2);
      expect(stderr).toContain(`more than one patch could be meant by ${wanted}`);
      expect(stderr).toContain('aaaaaaaa-2222-4111-8111-111111111111');
    }
    const { exitCode, stderr } = await run(['destroy', 'aaa']);
    expect({ exitCode, hint: stderr.includes('patch-vdi pool patches lists them') }).toEqual({
      exitCode: 2,
      hint: true,
    });
    expect(pool.callsOf('pool_patch.destroy')).toEqual([]);
  });
});

describe('clean, pool-clean, destroy', () => {
  test.for([
    ['clean', 'pool_patch.clean', { record: true, vdi: true }, 1],
    ['pool-clean', 'pool_patch.pool_clean', { record: true, vdi: false }, 1],
    ['destroy', 'pool_patch.destroy', { record: false, vdi: true }, 0],
  ] as const)('%s', async ([command, method, left, warningCount]) => {
    const { pool, json, run } = await poolScene();
    const { patch } = addPatch(pool, 'XS62ESP1', 'c');
    const result = await json([command, 'XS62ESP1']);
    expect(result).toMatchObject({ ok: true, patch: { uuid: uuid('c'), nameLabel: 'XS62ESP1' }, left });
    expect(result['warnings']).toHaveLength(warningCount);
    expect(pool.callsOf(method).map(({ params }) => params.slice(1))).toEqual([[patch]]);
    addPatch(pool, 'XS65', 'd');
    const { exitCode, stderr, stdout } = await run([command, 'XS65']);
    expect(exitCode).toBe(0);
    expect(stderr.includes('deprecated')).toBe(warningCount > 0);
    expect(stderr.includes('patch-vdi pool vdi-destroy')).toBe(warningCount > 0);
    expect(stdout).toContain(uuid('d'));
    expectFits(stderr);
  });

  test('a patch that is applied stays, with a reason', async () => {
    const { pool, run } = await poolScene();
    addPatch(pool, 'XS62ESP1', 'c');
    pool.answers.set('pool_patch.destroy', () => {
      throw new ReplayError('PATCH_IS_APPLIED');
    });
    const { exitCode, stderr } = await run(['destroy', 'XS62ESP1']);
    expect(exitCode).toBe(8);
    expect(stderr).toContain('the patch is applied to a host, which keeps its record');
  });
});

describe('apply', () => {
  /** A pool that answers with a task, which ends at its second look. */
  async function applying(finish: () => string): Promise<PoolScene & { patch: string; host: string }> {
    const scene = await poolScene();
    const { patch } = addPatch(scene.pool, 'XS62ESP1', 'c', { after_apply_guidance: ['restartHost'] });
    const [host = ''] = scene.pool.tables.host.keys();
    for (const call of ['precheck', 'apply', 'pool_apply']) {
      scene.pool.answers.set(`Async.pool_patch.${call}`, () => {
        const task = `OpaqueRef:task-${call}`;
        const fields = { uuid: uuid('e'), name_label: call, created: '', finished: '', status: 'pending' };
        const others = { progress: 0, result: '', error_info: [], other_config: {}, finish };
        scene.pool.tables.task.set(task, { ...fields, ...others });
        return task;
      });
    }
    return { ...scene, patch, host };
  }

  test.for([
    ['precheck', 'precheck', true, []],
    ['apply', 'apply', true, ['restartHost']],
    ['pool-apply', 'pool_apply', false, ['restartHost']],
  ] as const)('%s on the only host', async ([command, method, takesHost, guidance]) => {
    const { pool, json, patch, host } = await applying(() => 'a &lt; b &amp;amp; c\n');
    expect(await json([command, 'XS62ESP1'])).toMatchObject({
      ok: true,
      patch: { uuid: uuid('c') },
      host: takesHost ? { nameLabel: 'xcp1' } : null,
      output: 'a < b &amp; c\n',
      afterApplyGuidance: guidance,
    });
    const calls = pool.callsOf(`Async.pool_patch.${method}`).map(({ params }) => params.slice(1));
    expect(calls).toEqual([takesHost ? [patch, host] : [patch]]);
    expect(pool.callsOf('task.destroy')).toHaveLength(1);
    expect(pool.callsOf('pool_patch.add_to_other_config')).toEqual([]);
  });

  test('of several hosts one must be named; --again says so to the server first', async () => {
    const { pool, run, patch } = await applying(() => 'done');
    pool.tables.host.set('OpaqueRef:two', { uuid: uuid('b'), name_label: 'xcp2', address: '' });
    const unclear = await run(['apply', 'XS62ESP1']);
    expect(unclear.exitCode).toBe(2);
    expect(unclear.stderr).toContain('xcp2');
    expectFits(unclear.stderr);
    pool.answers.set('pool_patch.add_to_other_config', () => {
      throw new ReplayError('MAP_DUPLICATE_KEY');
    });
    const { exitCode, stdout } = await run(['apply', 'XS62ESP1', '--host', 'xcp2', '--again']);
    expect(exitCode).toBe(0);
    expectFits(stdout);
    const order = pool.calls.map(({ method }) => method).filter((name) => name.includes('pool_patch.a'));
    expect(order).toEqual(['pool_patch.add_to_other_config', 'Async.pool_patch.apply']);
    expect(pool.callsOf('pool_patch.add_to_other_config')[0]?.params.slice(1)).toEqual([
      patch,
      `apply-again-${uuid('b')}`,
      'true',
    ]);
    expect(pool.callsOf('Async.pool_patch.apply')[0]?.params.slice(1)).toEqual([patch, 'OpaqueRef:two']);
  });

  test('which hosts have a patch, and where it may have run in part', async () => {
    const { pool, run, json } = await applying(() => '');
    pool.tables.host.set('OpaqueRef:two', { uuid: uuid('b'), name_label: 'xcp2', address: '' });
    addPatch(pool, 'XS65', 'd', { host_patches: ['OpaqueRef:x', 'OpaqueRef:y'] });
    const [host] = pool.tables.host.keys();
    pool.answers.set('host_patch.get_all_records', () => ({
      'OpaqueRef:x': { host, pool_patch: 'OpaqueRef:patch-d', applied: true },
      'OpaqueRef:y': { host: 'OpaqueRef:two', pool_patch: 'OpaqueRef:patch-d', applied: false },
    }));
    const { stdout } = await run(['patches']);
    expect(stdout.replaceAll(/\s+/g, ' ')).toContain(
      'applied to xcp1; may have run in part on xcp2, where an apply was killed',
    );
    expectFits(stdout);
    expect(await json(['patches'])).toMatchObject({
      patches: [
        { hostCount: 0 },
        { hostCount: 1, hosts: [{ name: 'xcp1', applied: true }, { applied: false }] },
      ],
    });
  });
});

describe('storage repositories', () => {
  test('are listed with the default marked', async () => {
    const { pool, run, json } = await poolScene();
    const [local, shared] = [...pool.tables.SR.values()] as [{ uuid: string }, { uuid: string }];
    local.uuid = uuid('a');
    shared.uuid = uuid('b');
    pool.answers.set('SM.get_all_records', () => ({
      'OpaqueRef:sm': { type: 'file', capabilities: ['VDI_CREATE', 'VDI_CLONE'] },
    }));
    const { stdout } = await run(['srs']);
    expect(stdout.split('\n')).toEqual([
      '   UUID                                  FREE    TYPE  NAME',
      '*  aaaaaaaa-1111-4111-8111-111111111111  96 GiB  file  Local storage',
      '    the default; 100 GiB in all; can do VDI_CREATE VDI_CLONE',
      '   bbbbbbbb-1111-4111-8111-111111111111  1 TiB   nfs   Shared storage',
      '    1 TiB in all',
      '',
    ]);
    pool.answers.delete('SM.get_all_records');
    const [one = '', other = ''] = pool.tables.SR.keys();
    const pbd = (SR: string, currently_attached: boolean) => ({
      host: 'OpaqueRef:h',
      SR,
      currently_attached,
    });
    const pbds = [pbd(one, false), pbd(one, true), pbd(other, false)];
    pool.answers.set('PBD.get_all_records', () =>
      Object.fromEntries(pbds.map((record, at) => [`OpaqueRef:${at}`, record])),
    );
    expect((await run(['srs'])).stdout.split('\n').slice(2)).toEqual([
      '    the default; 100 GiB in all',
      '   bbbbbbbb-1111-4111-8111-111111111111  1 TiB   nfs   Shared storage',
      '    OUT OF REACH: no host has it attached; 1 TiB in all',
      '',
    ]);
    expect(await json(['srs'])).toMatchObject({ repositories: [{ reachable: true }, { reachable: false }] });
    pool.answers.delete('PBD.get_all_records');
    expect(await json(['srs'])).toMatchObject({ repositories: [{ reachable: null }, { reachable: null }] });
    expect(await json(['srs'])).toMatchObject({
      repositories: [
        { uuid: uuid('a'), isDefault: true, freeBytes: 103_079_215_104, capabilities: null },
        { uuid: uuid('b'), isDefault: false, sizeBytes: 1_099_511_627_776, type: 'nfs' },
      ],
    });
  });
});

describe('VDIs', () => {
  test('of patches are listed, all of them with --all', async () => {
    const { pool, run, json } = await poolScene();
    const { patch } = addPatch(pool, 'XS62ESP1', 'c');
    addPatch(pool, 'XS65', 'd');
    const [other] = [...pool.tables.VDI.values()].slice(-1) as [Record<string, unknown>];
    pool.tables.VDI.set('OpaqueRef:other', { ...other, uuid: uuid('e'), name_label: 'Windows' });
    pool.tables.pool_patch.delete(patch);
    const { stdout } = await run(['vdis']);
    expect(stdout.split('\n')).toEqual([
      'UUID                                  SIZE      USED     SR',
      'cccccccc-2222-4111-8111-111111111111  2.73 GiB  700 MiB  Local storage',
      `    Patch ${uuid('c')} (XS62ESP1)`,
      '    no patch record names it: a copy, or left over',
      'dddddddd-2222-4111-8111-111111111111  2.73 GiB  700 MiB  Local storage',
      `    Patch ${uuid('d')} (XS65)`,
      '',
    ]);
    const all = await json(['vdis', '--all']);
    expect(all['vdis']).toHaveLength(3);
    expect(all).toMatchObject({
      vdis: [{ patch: null }, { patch: { nameLabel: 'XS65' } }, { nameLabel: 'Windows' }],
    });
  });

  test.for([
    ['as a task', false],
    ['without, where the server cannot', true],
  ] as const)('are copied %s', async ([, withoutAsync]) => {
    const { pool, json } = await poolScene({ withoutAsync });
    addPatch(pool, 'XS62ESP1', 'c');
    const result = await json(['vdi-copy', 'cccccccc', '--sr', 'Shared storage']);
    expect(result).toMatchObject({
      ok: true,
      vdi: { from: 'cccccccc-2222-4111-8111-111111111111', srName: 'Shared storage' },
    });
    expect(pool.tables.VDI.size).toBe(2);
    expect(pool.tables.task.size).toBe(0);
  });

  test('are destroyed; none of them when one name is wrong', async () => {
    const { pool, run, json } = await poolScene();
    addPatch(pool, 'XS62ESP1', 'c');
    addPatch(pool, 'XS65', 'd');
    const { exitCode } = await run(['vdi-destroy', 'cccccccc', 'nothing']);
    expect({ exitCode, left: pool.tables.VDI.size }).toEqual({ exitCode: 2, left: 2 });
    const result = await json(['vdi-destroy', 'cccccccc', 'dddddddd', 'cccccccc']);
    expect(result['destroyed']).toMatchObject([
      { uuid: 'cccccccc-2222-4111-8111-111111111111' },
      { uuid: 'dddddddd-2222-4111-8111-111111111111' },
    ]);
    expect(pool.tables.VDI.size).toBe(0);
  });

  test('that cannot be destroyed: the error tells of the ones before', async () => {
    const { pool, json } = await poolScene();
    addPatch(pool, 'XS62ESP1', 'c');
    addPatch(pool, 'XS65', 'd');
    pool.answers.set('VDI.destroy', ([, ref]) => {
      if (ref === 'OpaqueRef:vdi-c') return '';
      throw new ReplayError('OTHER_OPERATION_IN_PROGRESS', 'VDI', String(ref));
    });
    expect(await json(['vdi-destroy', 'cccccccc', 'dddddddd'])).toMatchObject({
      ok: false,
      error: { exitCode: 8, leftBehind: 'destroyed before that: cccccccc-2222-4111-8111-111111111111' },
    });
  });
});

describe('tasks', () => {
  test('are listed, those under way first, and cancelled', async () => {
    const { pool, run, json } = await poolScene();
    const task = {
      error_info: [],
      progress: 0.5,
      result: '',
      other_config: {},
      finished: '19700101T00:00:00Z',
    };
    const created = '20261121T18:16:00Z';
    pool.tables.task.set('OpaqueRef:t1', {
      ...task,
      uuid: uuid('a'),
      name_label: 'old',
      created,
      status: 'failure',
      error_info: ['OUT_OF_SPACE', 'there'],
    });
    pool.tables.task.set('OpaqueRef:t2', {
      ...task,
      uuid: uuid('b'),
      name_label: 'VDI.copy',
      created,
      status: 'pending',
    });
    const { stdout } = await run(['tasks']);
    expect(stdout.split('\n')).toEqual([
      'UUID                                  STATUS   DONE  NAME',
      `${uuid('b')}  pending  50 %  VDI.copy`,
      '    since 2026-11-21 18:16:00 UTC',
      `${uuid('a')}  failure  50 %  old`,
      '    since 2026-11-21 18:16:00 UTC',
      '    OUT_OF_SPACE, there',
      '',
    ]);
    expect(await json(['tasks', '--cancel', 'VDI.copy'])).toMatchObject({
      tasks: [
        { uuid: uuid('b'), status: 'cancelling' },
        { uuid: uuid('a'), errorInfo: ['OUT_OF_SPACE', 'there'] },
      ],
    });
    const { exitCode } = await run(['tasks', '--cancel', 'old']);
    expect(exitCode).toBe(2);
  });
});
