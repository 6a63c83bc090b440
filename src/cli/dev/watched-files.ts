import { type FSWatcher, watch } from 'node:fs'
import { dirname, join, matchesGlob, resolve, sep } from 'node:path'
import { messageOf } from '../../runtime/log.ts'
import { type Deferred, deferred } from '../../runtime/promises.ts'
import { CommandError } from '../shared/exit-code.ts'

/** Changes within this time count as one, in milliseconds: editors write a file in several steps. */
const TOGETHER = 50

/** The files of an app, watched for changes. */
export class WatchedFiles implements Disposable {
  readonly #files = new Set<string>()
  readonly #directories = new Map<string, FSWatcher>()
  #change: Deferred<void> = deferred()
  #names = new Set<string>()
  #timer: NodeJS.Timeout | undefined

  /** Watches the directory of a file, which need not exist yet: editors replace files by new ones. */
  add(path: string): void {
    this.#files.add(path)
    const directory = dirname(path)
    if (this.#directories.has(directory)) return
    try {
      const watcher = watch(directory, (_, name) => this.#changed(name === null ? path : join(directory, name)))
      watcher.on('error', () => this.#directories.delete(directory)) // the directory is gone
      this.#directories.set(directory, watcher)
    } catch {
      // The directory does not exist.
    }
  }

  /**
   * Watches the files that match a glob pattern, whose fixed beginning is a directory.
   *
   * @param from How the pattern was given, such as `--watch-files`.
   * @throws CommandError `usage` if the directory is missing.
   */
  addGlob(glob: string, from: string): void {
    const pattern = resolve(glob)
    const [fixed = ''] = pattern.split(/[*?{[]/, 1)
    const base = fixed.slice(0, fixed.lastIndexOf(sep)) || sep
    try {
      const watcher = watch(base, { recursive: true }, (_, name) => {
        const path = join(base, name ?? '')
        if (matchesGlob(path, pattern)) this.#note(path)
      })
      this.#directories.set(pattern, watcher)
    } catch (error) {
      throw new CommandError('usage', `${from} ${glob}: ${messageOf(error)}`)
    }
  }

  /** Resolves with the changed files after the next change, or at once if there was one since the last call. */
  async changed(): Promise<readonly string[]> {
    await this.#change.promise
    const names = [...this.#names]
    this.#change = deferred()
    this.#names.clear()
    return names
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer)
    for (const watcher of this.#directories.values()) watcher.close()
  }

  #changed(path: string): void {
    if (this.#files.has(path)) this.#note(path)
  }

  #note(path: string): void {
    this.#names.add(path)
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => this.#change.resolve(), TOGETHER)
  }
}
