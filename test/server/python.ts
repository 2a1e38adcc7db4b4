import { runJudge, verdictAgainst } from '../oracles/run-judge.js';

/** Who judges what we write, and writes what we read. */
export const PYTHON = 'python3';

/** What the programs share: values as JSON that keeps the types apart. */
const PLAIN = `
import json, sys, xmlrpc.client as x
def plain(v):
    if isinstance(v, bool): return {'bool': v}
    if isinstance(v, int): return {'i4': v}
    if isinstance(v, float): return {'double': repr(v)}
    if isinstance(v, x.DateTime): return {'time': v.value}
    if isinstance(v, list): return [plain(m) for m in v]
    if isinstance(v, dict): return {'struct': [[k, plain(m)] for k, m in v.items()]}
    return v
def value(v):
    if isinstance(v, list): return [value(m) for m in v]
    if not isinstance(v, dict): return v
    if 'bool' in v: return v['bool']
    if 'i4' in v: return v['i4']
    if 'double' in v: return float(v['double'])
    if 'time' in v: return x.DateTime(v['time'])
    return {k: value(m) for k, m in v['struct']}
given = json.load(sys.stdin)
`;

/** A value as python has it. A 64-bit integer of XAPI's is a string to it. */
export type PythonValue =
  | string
  | { readonly bool: boolean }
  | { readonly i4: number }
  | { readonly double: string }
  | { readonly time: string }
  | { readonly struct: readonly (readonly [string, PythonValue])[] }
  | readonly PythonValue[];

/** Runs a program that makes `answer` out of `given`. @throws with python's words */
export function python(program: string, given: unknown): unknown {
  const script = `${PLAIN}\n${program}\njson.dump(answer, sys.stdout)\n`;
  const result = runJudge(PYTHON, ['-c', script], JSON.stringify(given));
  if (result.exitCode !== 0) throw verdictAgainst(PYTHON, 'what it was given', result);
  return JSON.parse(result.stdout);
}

/** Responses of XML-RPC as `xmlrpc.client` reads them; for one that it does not take, the name of its error. */
export function pythonReads(
  responses: readonly string[],
): readonly (PythonValue | { readonly error: string })[] {
  const program = `
def read(text):
    try: return plain(x.loads(text.encode('utf-8'))[0][0])
    except Exception as e: return {'error': type(e).__name__}
answer = [read(text) for text in given]`;
  return python(program, responses) as (PythonValue | { error: string })[];
}

/** Calls of XML-RPC as `xmlrpc.client` writes them, each of a method with one parameter. */
export function pythonWrites(method: string, values: readonly PythonValue[]): readonly string[] {
  const program = `answer = [x.dumps((value(v),), ${JSON.stringify(method)}) for v in given]`;
  return python(program, values) as string[];
}

/** JSON texts as python's parser reads them: integers and floats apart. */
export function pythonReadsJson(
  texts: readonly string[],
): readonly (PythonValue | { readonly error: string })[] {
  const program = `
def read(text):
    try: return plain(json.loads(text))
    except Exception as e: return {'error': type(e).__name__}
answer = [read(text) for text in given]`;
  return python(program, texts) as (PythonValue | { error: string })[];
}
