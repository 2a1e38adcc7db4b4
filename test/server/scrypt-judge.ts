import { scryptSync } from 'node:crypto';
import { runJudge, verdictAgainst } from '../oracles/run-judge.js';

const CHECK = `
import base64, hashlib, json, sys
asked = json.load(sys.stdin)
_, scheme, cost, salt, key = asked["hash"].split("$")
assert scheme == "scrypt"
cost = dict(part.split("=") for part in cost.split(","))
n, r, p = 1 << int(cost["ln"]), int(cost["r"]), int(cost["p"])
raw = lambda text: base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
made = hashlib.scrypt(asked["password"].encode(), salt=raw(salt), n=n, r=r, p=p, maxmem=1 << 28, dklen=len(raw(key)))
print("yes" if made == raw(key) else "no")
`;

const MAKE = `
import base64, hashlib, json, os, sys
asked = json.load(sys.stdin)
salt = os.urandom(16)
n, r, p = 1 << asked["ln"], asked["r"], asked["p"]
made = hashlib.scrypt(asked["password"].encode(), salt=salt, n=n, r=r, p=p, maxmem=1 << 28, dklen=32)
text = lambda raw: base64.b64encode(raw).decode().rstrip("=")
print("$scrypt$ln=%d,r=%d,p=%d$%s$%s" % (asked["ln"], r, p, text(salt), text(made)))
`;

function python(script: string, input: object): string {
  const result = runJudge('python3', ['-c', script], JSON.stringify(input));
  if (result.exitCode !== 0) throw verdictAgainst('python3', 'a scrypt hash', result);
  return result.stdout.trim();
}

/** Whether Python's own scrypt finds that they belong together. */
export function pythonAccepts(password: string, hash: string): boolean {
  return python(CHECK, { password, hash }) === 'yes';
}

export function pythonHash(password: string, cost: { ln: number; r: number; p: number }): string {
  return python(MAKE, { password, ...cost });
}

/** A hash that takes a millisecond: the cheapest that is let pass. */
export function cheapHash(password: string): string {
  const salt = Buffer.alloc(16, 7);
  const key = scryptSync(password, salt, 32, { N: 4096, r: 1, p: 1 });
  const text = (bytes: Buffer): string => bytes.toString('base64').replaceAll('=', '');
  return `$scrypt$ln=12,r=1,p=1$${text(salt)}$${text(key)}`;
}
