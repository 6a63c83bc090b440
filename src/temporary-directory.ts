import { randomBytes } from 'node:crypto'
import { mkdirSync, realpathSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { guardDirectory } from './orphan-guard.ts'

/** A new directory that only this user can enter, and that is removed with this process at the latest. */
export class TemporaryDirectory {
  // Short: an address of a socket in it may have 107 bytes.
  readonly path: string = join(realpathSync(tmpdir()), `mongrel2-fetch-${randomBytes(6).toString('hex')}`)
  readonly #remove = guardDirectory(this.path)

  constructor() {
    mkdirSync(this.path, { mode: 0o700 })
  }

  /** Removes it with all that is in it. */
  remove(): void {
    this.#remove()
  }
}
