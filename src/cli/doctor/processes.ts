import { readdirSync, readFileSync, readlinkSync, realpathSync } from 'node:fs'
import { networkInterfaces } from 'node:os'
import { basename, join, resolve } from 'node:path'

/** The process that listens at an address. */
export interface Listener {
  readonly pid: number
  /** Connections to the address. */
  readonly connections: number
}

/** A running Mongrel2. */
export interface Mongrel2Process {
  readonly pid: number
  readonly uid: number
  readonly gid: number
  /** The directory that is `/` for it, or its working directory where it is not locked in. */
  readonly directory: string
  /** Files that it may have open. */
  readonly maxFiles: number
  /** Such as `1.12.2`; undefined if its program cannot be read. */
  readonly version: string | undefined
}

/** A socket in a table of Linux (proc_pid_net(5)). */
interface Entry {
  readonly listens: boolean
  readonly inode: string
  /** The path as its process gave it; empty for tcp. */
  readonly path: string
}

/** The process that listens at an address of this machine; undefined on other machines and systems, or without the right to see it. */
export function listenerOf(spec: string): Listener | undefined {
  try {
    const entries = spec.startsWith('ipc://') ? unixEntries(spec.slice('ipc://'.length)) : tcpEntries(spec)
    for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
      const sockets = socketsOf(pid)
      const listening = entries.find((entry) => entry.listens && sockets.has(entry.inode))
      if (listening === undefined || (spec.startsWith('ipc://') && !isPathOf(pid, listening.path, spec))) continue
      const connections = entries.filter(({ listens, inode }) => !listens && sockets.has(inode)).length
      return { pid: Number(pid), connections }
    }
  } catch {}
  return undefined
}

/** What Linux shows of a process; undefined without the right to see it. */
export function processOf(pid: number): Mongrel2Process | undefined {
  try {
    const of = (name: string) => `/proc/${pid}/${name}`
    const status = readFileSync(of('status'), 'utf8')
    const root = readlinkSync(of('root'))
    return {
      pid,
      uid: Number(/^Uid:\s+(\d+)/m.exec(status)?.[1]),
      gid: Number(/^Gid:\s+(\d+)/m.exec(status)?.[1]),
      directory: root === '/' ? readlinkSync(of('cwd')) : root,
      maxFiles: Number(/^Max open files\s+(\d+)/m.exec(readFileSync(of('limits'), 'utf8'))?.[1]),
      version: /Mongrel2\/(\d+(?:\.\d+)+)/.exec(readFileSync(of('exe'), 'latin1'))?.[1],
    }
  } catch {
    return undefined
  }
}

/** Sockets of a path's last name: those of a process that is locked in, or bound a relative path, have another path. */
function unixEntries(path: string): Entry[] {
  return readFileSync('/proc/net/unix', 'latin1')
    .split('\n')
    .map((line) => line.split(/\s+/))
    .filter((fields) => fields[7] !== undefined && basename(fields[7]) === basename(path))
    .map((fields) => ({ listens: fields[5] === '01', inode: fields[6] ?? '', path: fields[7] ?? '' }))
}

function tcpEntries(spec: string): Entry[] {
  const [, host = '', port] = /^tcp:\/\/\[?(.*?)\]?:(\d+)$/.exec(spec) ?? []
  const own = Object.values(networkInterfaces()).flatMap((addresses = []) => addresses.map(({ address }) => address))
  if (host !== 'localhost' && !own.includes(host)) return []
  const suffix = `:${Number(port).toString(16).toUpperCase().padStart(4, '0')}`
  return ['/proc/net/tcp', '/proc/net/tcp6']
    .flatMap((table) => readFileSync(table, 'latin1').split('\n'))
    .map((line) => line.trim().split(/\s+/))
    .filter((fields) => fields[1]?.endsWith(suffix))
    .map((fields) => ({ listens: fields[3] === '0A', inode: fields[9] ?? '', path: '' }))
}

/** The inodes of a process' sockets; none without the right to see them. */
function socketsOf(pid: string): Set<string> {
  const inodes = new Set<string>()
  try {
    for (const fd of readdirSync(`/proc/${pid}/fd`)) {
      const inode = /^socket:\[(\d+)\]$/.exec(linkOf(`/proc/${pid}/fd/${fd}`))?.[1]
      if (inode !== undefined) inodes.add(inode)
    }
  } catch {}
  return inodes
}

function linkOf(path: string): string {
  try {
    return readlinkSync(path)
  } catch {
    return ''
  }
}

/** Whether a path that a process has bound is this address. */
function isPathOf(pid: string, path: string, spec: string): boolean {
  const bound = path.startsWith('/')
    ? join(linkOf(`/proc/${pid}/root`), path)
    : resolve(linkOf(`/proc/${pid}/cwd`), path)
  return bound === realpathSync(spec.slice('ipc://'.length))
}
