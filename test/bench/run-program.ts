import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { text } from 'node:stream/consumers'

/**
 * Runs a program to its end.
 *
 * @param options.env Variables beside this process's own.
 * @param options.stopAfter Milliseconds until it gets a SIGINT.
 * @returns What it wrote to its standard output.
 * @throws Error if it ends with anything but 0; the message has all that it wrote.
 */
export async function runProgram(
  command: string,
  args: readonly string[],
  { env = {}, stopAfter }: { env?: Record<string, string>; stopAfter?: number } = {},
): Promise<string> {
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, ...env } })
  const timer = stopAfter === undefined ? undefined : setTimeout(() => child.kill('SIGINT'), stopAfter)
  try {
    const [output, errors, [code, signal]] = await Promise.all([
      text(child.stdout),
      text(child.stderr),
      once(child, 'close'),
    ])
    if (code !== 0) throw new Error(`${command} ${args.join(' ')} ended with ${signal ?? code}: ${output}${errors}`)
    return output
  } finally {
    clearTimeout(timer)
  }
}
