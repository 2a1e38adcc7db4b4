import { PatchVdiError } from '../errors.js';
import { visible } from './text.js';

const MAX_CHARACTERS = 1024;

/**
 * Asks on the terminal, without an echo. Standard input and standard error must be terminals.
 *
 * @throws PatchVdiError `interrupted` for Ctrl-C, `usage` for nothing; the reason of the signal
 */
export function askPassword(question: string, signal: AbortSignal): Promise<string> {
  const { stdin, stderr } = process;
  return new Promise((resolve, reject) => {
    let typed: string[] = [];
    const end = (outcome: () => void): void => {
      signal.removeEventListener('abort', onAbort);
      stdin.off('data', onData).off('end', onEnd);
      stdin.setRawMode(false);
      stdin.pause();
      stderr.write('\n');
      outcome();
    };
    const onAbort = (): void => end(() => reject(signal.reason as Error));
    const onEnd = (): void => answer();
    const answer = (): void => {
      const password = typed.join('');
      const none = new PatchVdiError('usage', 'there is no password', {
        context: { found: 'nothing was typed', expected: 'the password' },
      });
      end(() => (password === '' ? reject(none) : resolve(password)));
    };
    /** Keys as a terminal in raw mode sends them. @returns whether more is wanted */
    const take = (key: string): boolean => {
      if (key === '\r' || key === '\n' || key === '\u0004') {
        answer();
        return false;
      }
      if (key === '\u0003') {
        end(() =>
          reject(
            new PatchVdiError('interrupted', 'stopped by Ctrl-C', { leftBehind: 'nothing was touched' }),
          ),
        );
        return false;
      }
      if (key === '\u007f' || key === '\b') typed.pop();
      else if (key === '\u0015') typed = [];
      else if (!/\p{Cc}/u.test(key) && typed.length < MAX_CHARACTERS) typed.push(key);
      return true;
    };
    const onData = (text: string): void => {
      for (const key of text) if (!take(key)) return;
    };
    if (signal.aborted) {
      reject(signal.reason as Error);
      return;
    }
    // First: what somebody types as soon as he sees the question is not to be shown.
    stdin.setEncoding('utf8').setRawMode(true);
    stderr.write(visible(question, 200));
    signal.addEventListener('abort', onAbort);
    stdin.on('data', onData).once('end', onEnd);
    stdin.resume();
  });
}
