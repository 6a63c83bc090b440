import { existsSync } from 'node:fs'
import { networkInterfaces } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { Mongrel2Error } from '../runtime/errors.ts'
import { messageOf } from '../runtime/log.ts'
import { runtimeName } from '../runtime/process/versions.ts'

/** A server in Mongrel2's database. Addresses and paths are as this process sees them. */
export interface DatabaseServer {
  readonly uuid: string
  readonly name: string
  readonly defaultHost: string
  /** The directory that is `/` for Mongrel2, or in which it was started where it is not locked in. */
  readonly chroot: string
  readonly controlPort: string
  readonly handlers: readonly DatabaseHandler[]
  /** The settings by their names, as texts. They are the same for all servers of a database. */
  readonly settings: ReadonlyMap<string, string>
}

/** A Handler of a server, with its routes. */
export interface DatabaseHandler {
  readonly sendSpec: string
  readonly recvSpec: string
  readonly sendIdent: string
  readonly recvIdent: string
  /** The paths, without hosts. */
  readonly routes: readonly string[]
}

/** Whether a setting is on, as Mongrel2 reads it. */
export function flagIn(settings: ReadonlyMap<string, string>, name: string): boolean {
  return (Number.parseInt(settings.get(name) ?? '0', 10) || 0) !== 0
}

/** The part of `node:sqlite` that is used; the types of Node 20 do not have it. */
interface Sqlite {
  readonly DatabaseSync: new (
    path: string,
    options: { readOnly: boolean },
  ) => { prepare(sql: string): { all(...values: unknown[]): Record<string, unknown>[] }; close(): void }
}

const SERVERS = 'SELECT * FROM server ORDER BY id'
const SETTINGS = 'SELECT key, value FROM setting'
/** Mongrel2 makes one Handler of those with the same addresses: the first. */
const HANDLERS = `SELECT path, send_spec, recv_spec, send_ident, recv_ident FROM route
  JOIN host ON host.id = route.host_id JOIN handler ON handler.id = route.target_id
  WHERE route.target_type = 'handler' AND host.server_id = ? ORDER BY host.id, route.id`

/**
 * Reads the servers of a database that `m2sh load` made. Mongrel2 is assumed to be started in the database's directory.
 *
 * @throws {Mongrel2Error} `invalid_option` if there is no such database, or this runtime cannot read it.
 */
export async function readDatabase(path: string): Promise<DatabaseServer[]> {
  const { DatabaseSync } = await importSqlite()
  if (!existsSync(path)) throw new Mongrel2Error('invalid_option', `there is no database ${path}`)
  const directory = dirname(resolve(path))
  try {
    const database = new DatabaseSync(path, { readOnly: true })
    try {
      const rows = (sql: string, ...values: unknown[]) =>
        database
          .prepare(sql)
          .all(...values)
          .map((row) => new Map(Object.entries(row).map(([key, value]) => [key, String(value ?? '')])))
      const settings = new Map(rows(SETTINGS).map((row) => [row.get('key') ?? '', row.get('value') ?? '']))
      return rows(SERVERS).map((row) => serverIn(row, rows(HANDLERS, Number(row.get('id'))), settings, directory))
    } finally {
      database.close()
    }
  } catch (error) {
    throw new Mongrel2Error('invalid_option', `expected a database of m2sh, got ${path}: ${messageOf(error)}`)
  }
}

/** Imports `node:sqlite`, without its warning that it is experimental. */
async function importSqlite(): Promise<Sqlite> {
  const { emitWarning } = process
  process.emitWarning = () => {}
  try {
    // A variable, since the types of Node 20 do not know the name.
    const name = 'node:sqlite'
    return (await import(name)) as Sqlite
  } catch {
    throw new Mongrel2Error(
      'invalid_option',
      `a database of Mongrel2 can be read by Node 22.13 or newer, and this is ${runtimeName()}: name the Handler by --zeromq`,
    )
  } finally {
    process.emitWarning = emitWarning
  }
}

type Row = ReadonlyMap<string, string>

function serverIn(row: Row, handlers: readonly Row[], settings: Row, directory: string): DatabaseServer {
  const text = (key: string) => row.get(key) ?? ''
  const place = placeOf(directory, text('chroot'), text('pid_file'))
  const byAddresses = new Map<string, DatabaseHandler & { routes: string[] }>()
  for (const handler of handlers) {
    const own = (key: string) => handler.get(key) ?? ''
    const [sendSpec, recvSpec] = [place.spec(own('send_spec')), place.spec(own('recv_spec'))]
    const key = `${sendSpec},${recvSpec}`
    const known = byAddresses.get(key) ?? {
      sendSpec,
      recvSpec,
      sendIdent: own('send_ident'),
      recvIdent: own('recv_ident'),
      routes: [],
    }
    known.routes.push(own('path'))
    byAddresses.set(key, known)
  }
  const controlPort = text('control_port') || settings.get('control_port') || 'ipc://run/control'
  return {
    uuid: text('uuid'),
    name: text('name'),
    defaultHost: text('default_host'),
    chroot: place.root,
    controlPort: place.spec(controlPort),
    handlers: [...byAddresses.values()],
    settings,
  }
}

/**
 * Where Mongrel2's files are. Started by root, it locks itself into its chroot, and all paths are in it. Otherwise relative ones are in the directory
 * where it was started, and its pid file too. The pid file tells which it is; without one it is assumed to be locked in.
 */
function placeOf(directory: string, chroot: string, pidFile: string): { root: string; spec(spec: string): string } {
  const locked = resolve(directory, chroot)
  const free = chroot === '' || (!existsSync(join(locked, pidFile)) && existsSync(join(directory, pidFile)))
  const root = free ? directory : locked
  return {
    root,
    spec(spec) {
      if (!spec.startsWith('ipc://')) return reachable(spec)
      const path = spec.slice('ipc://'.length)
      if (path.startsWith('@')) return spec
      return `ipc://${free ? resolve(root, path) : join(root, path)}`
    },
  }
}

/** The address at which a socket that is bound to all addresses, or to an interface, can be reached from this machine. */
function reachable(spec: string): string {
  const [, host = '', port] = /^tcp:\/\/(.*):(\d+)$/.exec(spec) ?? []
  if (port === undefined) return spec
  const [first] = networkInterfaces()[host] ?? []
  const address = ['*', '0.0.0.0', '[::]'].includes(host) ? '127.0.0.1' : (first?.address ?? host)
  return `tcp://${address}:${port}`
}
