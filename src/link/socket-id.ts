import { readFileSync, statSync } from 'node:fs'

const LOOPBACK = /^tcp:\/\/(?:localhost|127\.\d+\.\d+\.\d+|\[::1\]):(\d+)$/
/** The listening sockets of this machine, as Linux tells (proc_pid_net(5)). */
const TABLES = ['/proc/net/tcp', '/proc/net/tcp6']
const LISTEN = '0A'

/**
 * Names the socket that listens at a ZeroMQ address: by its file, or on this machine's loopback by its number. Programs that see the same name
 * see the same epoch of a Mongrel2. Undefined where nothing listens or it cannot be told: on other machines, and without Linux for tcp.
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

/** The numbers of the sockets that listen at a port. */
function listenerOf(port: number): string | undefined {
  const suffix = `:${port.toString(16).toUpperCase().padStart(4, '0')}`
  const inodes = TABLES.flatMap((table) => readFileSync(table, 'latin1').split('\n'))
    .map((line) => line.trim().split(/\s+/))
    .filter((fields) => fields[1]?.endsWith(suffix) === true && fields[3] === LISTEN)
    .map((fields) => fields[9])
  return inodes.length === 0 ? undefined : inodes.join('.')
}
