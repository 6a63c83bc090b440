import { fs } from '../../runtime/process/node-fs.ts'

/** The types of Linux' file systems (`f_type`, statfs(2)) whose files are on this machine. */
const LOCAL_TYPES: ReadonlySet<number> = new Set([
  0xef53, // ext2, ext3, ext4
  0x5846_5342, // XFS
  0x9123_683e, // Btrfs
  0xf2f5_2010, // F2FS
  0x2fc1_2fc1, // ZFS
  0xca45_1a4e, // bcachefs
  0x0102_1994, // tmpfs
  0x794c_7630, // overlayfs
])

/** By directory. One that was mounted anew meanwhile is judged as before. */
const known = new Map<string, Promise<boolean>>()

/**
 * Whether files of a directory are certainly in a file system of this machine: there what another process has just written is in memory, and a call
 * need not wait for a network.
 */
export async function isLocal(directory: string): Promise<boolean> {
  let answer = known.get(directory)
  if (answer === undefined) {
    answer = fs.promises.statfs(directory).then(({ type }) => process.platform === 'linux' && LOCAL_TYPES.has(type))
    known.set(directory, answer)
    // Asked again next time: the directory may be missing now.
    answer.catch(() => known.delete(directory))
  }
  return await answer.catch(() => false)
}
