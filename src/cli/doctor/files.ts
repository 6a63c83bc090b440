import { accessSync, constants, realpathSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { type Check, NO_PROCESS } from './check.ts'
import type { Facts } from './facts.ts'

/** The mode of upload files unless `upload.temp_store_mode` says otherwise. */
const TEMP_STORE_MODE = '0600'

/** Mistakes with the files of uploads. */
export const FILE_CHECKS: readonly Check[] = [
  {
    title: "The chroot is Mongrel2's",
    find({ endpoint, process }) {
      const { chroot } = endpoint.uploads
      const advice = 'Give the directory in which Mongrel2 is locked in, or was started, by --chroot.'
      const real = realPath(chroot)
      if (real === undefined) return { found: `there is no directory ${chroot}`, advice }
      if (process === undefined) return NO_PROCESS
      if (process.directory === real) return undefined
      return {
        found: `the chroot is ${chroot}, and Mongrel2 is in ${process.directory}`,
        advice: `Use --chroot ${process.directory}.`,
      }
    },
  },
  {
    title: 'This user can read and delete stored bodies',
    find(facts) {
      const { endpoint, owner } = facts
      const store = storeOf(facts)
      if (store === undefined) return undefined
      const directory = join(endpoint.uploads.chroot, dirname(store))
      const problem = accessProblem(directory)
      if (problem !== undefined) {
        return {
          found: `the directory of stored bodies, ${directory}, ${problem}`,
          advice:
            'Check --chroot and --temp-store, and give this user the right to enter the directory and to write there.',
        }
      }
      if (owner === undefined) return NO_PROCESS
      const mode = Number.parseInt(facts.server?.settings.get('upload.temp_store_mode') ?? TEMP_STORE_MODE, 8)
      if (mayRead(owner, mode)) return undefined
      return {
        found: `Mongrel2 runs as user ${owner.uid}, this as ${process.getuid?.()}, and stored bodies have the mode ${mode.toString(8).padStart(4, '0')}`,
        advice: "Run both as the same user, or in the same group with 'upload.temp_store_mode': '0640'.",
      }
    },
  },
]

/** Where bodies are stored; undefined if the database says that none are. */
function storeOf({ server, endpoint }: Facts): string | undefined {
  return server === undefined ? endpoint.uploads.tempStore : server.settings.get('upload.temp_store')
}

function mayRead({ uid, gid }: { uid: number; gid: number }, mode: number): boolean {
  const own = process.getuid?.()
  if (own === undefined || own === 0 || own === uid) return true
  const inGroup = process.getgid?.() === gid || process.getgroups?.().includes(gid) === true
  return (mode & (inGroup ? 0o040 : 0o004)) !== 0
}

function accessProblem(directory: string): string | undefined {
  try {
    accessSync(directory, constants.W_OK | constants.X_OK)
    return undefined
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EACCES'
      ? 'cannot be entered or written by this user'
      : 'is not there'
  }
}

function realPath(path: string): string | undefined {
  try {
    return realpathSync(path)
  } catch {
    return undefined
  }
}
