import { type ChildProcess, spawn } from 'node:child_process'

/**
 * Ends a program and removes its directory when this process is gone, however it went: killed, it has no time to do so itself. The
 * guard waits for the end of a pipe that only this process holds.
 *
 * @param signal What ends it, by `kill`'s name.
 */
export function guard(program: ChildProcess, directory: string, signal = 'KILL'): void {
  if (program.pid === undefined) return // it could not be started
  const script = 'read -r _; kill -s "$2" "$0"; rm -rf "$1"'
  const child = spawn('sh', ['-c', script, String(program.pid), directory, signal], {
    stdio: ['pipe', 'ignore', 'ignore'],
    detached: true,
  })
  program.on('exit', () => child.kill('SIGKILL'))
}
