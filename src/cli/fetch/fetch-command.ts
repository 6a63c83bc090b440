import { readFile } from 'node:fs/promises'
import { buffer } from 'node:stream/consumers'
import { messageFields, splitTarget } from '../../gateway/message-fields.ts'
import { messageOf } from '../../runtime/log.ts'
import { reasonOf, TOKEN } from '../../wire/http.ts'
import type { ResponseHead } from '../../wire/response-parser.ts'
import type { OptionSources } from '../options/command-options.ts'
import { CommandError, type Ending } from '../shared/exit-code.ts'
import { appClient, fieldIn } from './app-client.ts'

/** The flags of `fetch`, as curl has them. */
export interface FetchFlags {
  readonly method?: string
  readonly header?: readonly string[]
  readonly data?: readonly string[]
  readonly include?: boolean
}

/** Runs `mongrel2-fetch fetch`: sends the app one request, and prints the response. */
export async function fetchCommand(sources: OptionSources, url: string, flags: FetchFlags): Promise<Ending> {
  const { target, ...request } = await requestOf(url, flags)
  const client = await appClient('fetch', sources)
  const settings = { flowControl: true, noClobberXff: false }
  const address = { version: 'HTTP/1.1', remoteAddress: '127.0.0.1', body: undefined, webSocket: undefined } as const
  const parts = splitTarget(target)
  const fields = messageFields({ ...request, ...address, target }, parts, '/', settings)
  try {
    const { head, body } = await client.send(parts.path, [...fields, 'METHOD', request.method], request.content)
    if (flags.include) await print(`${renderHead(head)}\r\n`)
    let last: number | undefined
    for await (const bytes of body) {
      await print(bytes)
      last = bytes.at(-1)
    }
    if (process.stdout.isTTY && last !== 0x0a) await print('\n')
    if (head.status < 400) return 'ok'
    if (!flags.include) console.error(`mongrel2-fetch: the app answered ${head.status} ${head.reason}`)
  } catch (error) {
    throw new CommandError('failed', messageOf(error))
  } finally {
    await client.close()
  }
  return 'failed'
}

/** A head as HTTP/1.1 has it, without the empty line. */
export function renderHead({ status, reason, fields }: ResponseHead): string {
  const lines = [`HTTP/1.1 ${status} ${reason || reasonOf(status)}`]
  for (let at = 0; at < fields.length; at += 2) lines.push(`${fields[at]}: ${fields[at + 1]}`)
  return lines.map((line) => `${line}\r\n`).join('')
}

/** Writes to stdout; text as Latin-1. Resolves when that has taken it, or is closed. */
export async function print(bytes: string | Buffer): Promise<void> {
  await new Promise<void>((resolve) => process.stdout.write(bytes, 'latin1', () => resolve()))
}

async function requestOf(url: string, { method, header = [], data }: FetchFlags) {
  const { host, protocol, pathname, search } = urlOf(url)
  const content = data === undefined ? Buffer.alloc(0) : await contentOf(data)
  const given = header.map(fieldIn)
  const own: [string, string][] = [['host', host]]
  if (data !== undefined) own.push(['content-type', 'application/x-www-form-urlencoded'])
  const fields = [...own.filter(([name]) => !given.some(([other]) => other === name)), ...given]
  if (data !== undefined) fields.push(['content-length', String(content.length)])
  const verb = method ?? (data === undefined ? 'GET' : 'POST')
  if (!TOKEN.test(verb)) throw new CommandError('usage', `--method: expected a method, got ${JSON.stringify(verb)}`)
  const scheme = protocol === 'https:' ? 'https' : 'http'
  return { method: verb, scheme, fields: fields.flat(), target: `${pathname}${search}`, content } as const
}

function urlOf(text: string): Pick<URL, 'host' | 'protocol' | 'pathname' | 'search'> {
  if (/^https?:/.test(text) && URL.canParse(text)) return new URL(text)
  // Not parsed: the app gets the path as it is written.
  if (text.startsWith('/')) return { host: 'localhost', protocol: 'http:', pathname: text, search: '' }
  throw new CommandError('usage', `expected a path such as /, or a URL, got ${JSON.stringify(text)}`)
}

async function contentOf(data: readonly string[]): Promise<Buffer> {
  const parts: Buffer[] = []
  for (const text of data) {
    if (parts.length > 0) parts.push(Buffer.from('&'))
    parts.push(text.startsWith('@') ? await read(text.slice(1)) : Buffer.from(text))
  }
  return Buffer.concat(parts)
}

async function read(path: string): Promise<Buffer> {
  try {
    return await (path === '-' ? buffer(process.stdin) : readFile(path))
  } catch (error) {
    throw new CommandError('usage', `--data: ${messageOf(error)}`)
  }
}
