import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { invalid } from '../errors.ts'
import { fs } from './node-fs.ts'
import { guardDirectory } from './orphan-guard.ts'

const { mkdirSync, realpathSync } = fs

/** Bytes of the longest path of an ipc address: `sun_path` of Linux holds 108, with a zero at the end. */
export const IPC_LONGEST = 107
/** The longest name of a socket in such a directory. */
const LONGEST_NAME = 'run/control'.length

/** A path for a new directory of sockets. Throws Mongrel2Error `invalid_option` if paths of sockets in it would exceed `IPC_LONGEST`. */
export function temporaryPath(): string {
  const parent = realpathSync(tmpdir())
  const random = process.getBuiltinModule('node:crypto').randomBytes(6).toString('hex')
  const path = join(parent, `mongrel2-fetch-${random}`)
  const most = IPC_LONGEST - LONGEST_NAME - 1 - Buffer.byteLength(path) + Buffer.byteLength(parent)
  const expected = `a temporary directory whose path has at most ${most} bytes, since sockets are made in it`
  if (Buffer.byteLength(parent) > most) throw invalid('TMPDIR', expected, parent)
  return path
}

/** A new directory that only this user can enter; removed at the end of this process at the latest. */
export class TemporaryDirectory {
  readonly path: string = temporaryPath()
  readonly #remove = guardDirectory(this.path)

  constructor() {
    mkdirSync(this.path, { mode: 0o700 })
  }

  /** Removes it with its contents. */
  remove(): void {
    this.#remove()
  }
}
