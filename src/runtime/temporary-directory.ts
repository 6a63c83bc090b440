import { randomBytes } from 'node:crypto'
import { mkdirSync, realpathSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { invalid } from './errors.ts'
import { guardDirectory } from './orphan-guard.ts'

/** The longest path of an ipc address in bytes: `sun_path` of Linux holds 108, the last of them zero. */
export const IPC_LONGEST = 107
/** The longest name of a socket in such a directory. */
const LONGEST_NAME = 'run/control'.length

/**
 * A path for a new directory of sockets, which is not made yet.
 *
 * @throws Mongrel2Error `invalid_option` when the paths of sockets in it would be longer than the system takes: it cuts them off, so that they collide.
 */
export function temporaryPath(): string {
  const parent = realpathSync(tmpdir())
  const path = join(parent, `mongrel2-fetch-${randomBytes(6).toString('hex')}`)
  const most = IPC_LONGEST - LONGEST_NAME - 1 - Buffer.byteLength(path) + Buffer.byteLength(parent)
  if (Buffer.byteLength(parent) > most) {
    throw invalid(
      'TMPDIR',
      `a temporary directory whose path has at most ${most} bytes, since sockets are made in it`,
      parent,
    )
  }
  return path
}

/** A new directory that only this user can enter, and that is removed with this process at the latest. */
export class TemporaryDirectory {
  readonly path: string = temporaryPath()
  readonly #remove = guardDirectory(this.path)

  constructor() {
    mkdirSync(this.path, { mode: 0o700 })
  }

  /** Removes it with all that is in it. */
  remove(): void {
    this.#remove()
  }
}
