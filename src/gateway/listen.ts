import { once } from 'node:events'
import { chmodSync } from 'node:fs'
import { lstat, unlink } from 'node:fs/promises'
import { type AddressInfo, connect, type Server } from 'node:net'
import { checkedBy, type Option } from '../options/option.ts'
import { invalid } from '../runtime/errors.ts'

/** Where clients connect: a port, or a socket in the file system. */
export type ListenAt = { readonly port: number; readonly host: string | undefined } | { readonly path: string }

/** One address or several: `HOST:PORT`, `:PORT` for every address of the machine, or the path of a socket, with a slash in it. */
export function addresses(more: Partial<Option> = {}): Option<readonly ListenAt[]> {
  return checkedBy((name, value = []) => [value].flat().map((address) => addressIn(name, address)), more)
}

/** One such address. */
export function address(more: Partial<Option> = {}): Option<ListenAt | undefined> {
  return checkedBy((name, value) => (value === undefined ? undefined : addressIn(name, value)), more)
}

function addressIn(name: string, address: unknown): ListenAt {
  if (typeof address === 'string' && address.includes('/')) return { path: address }
  const [, bracketed, plain, port] = /^(?:\[([\da-fA-F:.]+)\]|([^:[\]]*)):(\d{1,5})$/.exec(String(address)) ?? []
  if (port === undefined || Number(port) > 65_535) {
    throw invalid(name, 'HOST:PORT, :PORT or the path of a socket, such as ./http.sock', address)
  }
  return { port: Number(port), host: bracketed ?? (plain || undefined) }
}

/** Listens at an address; throws Node's errors, such as `EADDRINUSE`. @param mode The permissions of a path's socket. */
export async function listen(server: Server, at: ListenAt, mode?: number): Promise<void> {
  if ('path' in at) await removeLeftoverSocket(at.path)
  const listening = once(server.listen(at), 'listening')
  if ('path' in at && mode !== undefined && server.listening) chmodSync(at.path, mode)
  await listening
}

/** An address as text. */
export function placeText(at: ListenAt): string {
  if ('path' in at) return at.path
  const { host = '0.0.0.0', port } = at
  return `${host.includes(':') ? `[${host}]` : host}:${port}`
}

/** The address of a server as text, with the port that was found for 0. */
export function addressText(server: Server, at: ListenAt): string {
  return placeText('path' in at ? at : { ...at, port: (server.address() as AddressInfo).port })
}

/** Removes a socket file that a killed program left behind, since it blocks listening there. Throws Error for a file of another kind. */
async function removeLeftoverSocket(path: string): Promise<void> {
  const found = await lstat(path).catch(() => undefined)
  if (found === undefined) return
  if (!found.isSocket())
    throw new Error(`expected a path that is free or a socket's, but ${path} is something else; choose another`)
  if (await refusesConnections(path)) await unlink(path)
}

function refusesConnections(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ path }, () => {
      socket.destroy()
      resolve(false)
    })
    socket.on('error', ({ code }: NodeJS.ErrnoException) => resolve(code === 'ECONNREFUSED'))
  })
}
