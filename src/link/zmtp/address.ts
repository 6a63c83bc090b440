import type { IpcNetConnectOpts, TcpNetConnectOpts } from 'node:net'

/**
 * Milliseconds of silence until the system asks a TCP peer whether it is there, ten times in as many seconds: what finds one of
 * ZMTP 3.0, which knows no PING, gone.
 */
const KEEP_ALIVE_DELAY = 20_000

/** Where and how `node:net` connects for a spec, `tcp://HOST:PORT` or `ipc://PATH`. */
export function addressOf(spec: string): IpcNetConnectOpts | TcpNetConnectOpts {
  if (spec.startsWith('ipc://')) return { path: spec.slice('ipc://'.length) }
  const colon = spec.lastIndexOf(':')
  const host = spec.slice('tcp://'.length, colon).replace(/^\[|\]$/g, '')
  const port = Number(spec.slice(colon + 1))
  return { host, port, noDelay: true, keepAlive: true, keepAliveInitialDelay: KEEP_ALIVE_DELAY }
}
