import type { IpcNetConnectOpts, TcpNetConnectOpts } from 'node:net'

/** Where `node:net` connects for a spec, `tcp://HOST:PORT` or `ipc://PATH`. */
export function addressOf(spec: string): IpcNetConnectOpts | TcpNetConnectOpts {
  if (spec.startsWith('ipc://')) return { path: spec.slice('ipc://'.length) }
  const colon = spec.lastIndexOf(':')
  const host = spec.slice('tcp://'.length, colon).replace(/^\[|\]$/g, '')
  return { host, port: Number(spec.slice(colon + 1)), noDelay: true, keepAlive: true }
}
