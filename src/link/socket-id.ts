import { fs } from '../runtime/process/node-fs.ts'

const { readFileSync, statSync } = fs

const LOOPBACK = /^tcp:\/\/(?:localhost|127\.\d+\.\d+\.\d+|\[::1\]):(\d+)$/
/** The sockets of this machine (Linux, proc_pid_net(5)). */
const TABLES = ['/proc/net/tcp', '/proc/net/tcp6']
const LISTEN = '0A'

/**
 * Identifies the listening socket of a ZeroMQ address by inode. All processes that see the same id see the same epoch of a Mongrel2.
 * Undefined if nothing listens, on another machine, or for tcp without Linux.
 */
export function socketIdOf(spec: string): string | undefined {
  try {
    if (spec.startsWith('ipc://')) {
      const { ino, mtimeNs } = statSync(spec.slice('ipc://'.length), { bigint: true })
      return `${ino}.${mtimeNs}`
    }
    const port = LOOPBACK.exec(spec)?.[1]
    return port === undefined ? undefined : listenerOf(Number(port))
  } catch {
    return undefined
  }
}

function listenerOf(port: number): string | undefined {
  const suffix = `:${port.toString(16).toUpperCase().padStart(4, '0')}`
  const inodes = TABLES.flatMap((table) => readFileSync(table, 'latin1').split('\n'))
    .map((line) => line.trim().split(/\s+/))
    .filter((fields) => fields[1]?.endsWith(suffix) === true && fields[3] === LISTEN)
    .map((fields) => fields[9])
  return inodes.length === 0 ? undefined : inodes.join('.')
}
