import { createReadStream } from 'node:fs'
import { createInterface } from 'node:readline'
import type { RecordedBody, RecordedRequest, RecordedResponse } from '../../operations/recorder.ts'
import { messageOf } from '../../runtime/log.ts'
import type { ResponseHead } from '../../wire/response-parser.ts'
import type { OptionSources } from '../options/command-options.ts'
import { CommandError, type Ending } from '../shared/exit-code.ts'
import { appClient, fieldIn } from './app-client.ts'
import { print, renderHead } from './fetch-command.ts'
import type { MemoryClient } from './memory-client.ts'

/** The flags of `replay`. */
export interface ReplayFlags {
  readonly header?: readonly string[]
  readonly check?: boolean
  readonly ignore?: readonly string[]
  readonly timeout: string
}

/** They tell the time, or belong to the connection. The length of a body is compared with the body. */
const NOT_COMPARED = ['date', 'connection', 'keep-alive', 'transfer-encoding', 'content-length']
/** Bytes of a body that a line shows. */
const SHOWN = 60

type Response = Pick<ResponseHead, 'status' | 'reason' | 'fields'> & { readonly body: Buffer }

/** Runs `mongrel2-fetch replay`: sends an app the requests that `serve --record` wrote. */
export async function replayCommand(sources: OptionSources, file: string, flags: ReplayFlags): Promise<Ending> {
  const timeout = Number(flags.timeout)
  if (!(timeout > 0)) throw new CommandError('usage', `--timeout: expected milliseconds, got ${flags.timeout}`)
  const given = (flags.header ?? []).map(fieldIn)
  const ignored = [...NOT_COMPARED, ...(flags.ignore ?? []).map((name) => name.toLowerCase())]
  const counts = new Map<string, number>()
  const count = (what: string) => counts.set(what, (counts.get(what) ?? 0) + 1)
  const client = await appClient('replay', sources)
  try {
    for await (const request of requestsIn(file)) {
      const name = `${ownField(request, 'METHOD')} ${ownField(request, 'URI')}`
      const obstacle = obstacleOf(request)
      if (obstacle !== undefined) {
        count(obstacle)
        continue
      }
      if (!flags.check) await print(`> ${name}\r\n`)
      const response = await replay(client, request, { given, timeout }).catch(messageOf)
      if (!flags.check) await print(typeof response === 'string' ? `${response}\r\n` : shown(response))
      const differences = differencesOf(request.response, response, ignored)
      if (flags.check) for (const line of differences ?? []) console.log(`${name}: ${line}`)
      if (differences === undefined) count('without a recorded response')
      else count(differences.length === 0 ? 'answered as recorded' : 'answered differently')
    }
  } finally {
    await client.close()
  }
  const summary = Array.from(counts, ([what, number]) => `${number} ${what}`)
  console.error(`mongrel2-fetch sent the requests of ${file}: ${summary.join(', ')}`)
  return flags.check && counts.has('answered differently') ? 'failed' : 'ok'
}

async function* requestsIn(file: string): AsyncGenerator<RecordedRequest> {
  let number = 0
  try {
    for await (const line of createInterface({ input: createReadStream(file), crlfDelay: Number.POSITIVE_INFINITY })) {
      number++
      const request: Partial<RecordedRequest> | null = JSON.parse(line)
      if (typeof request?.path !== 'string' || !Array.isArray(request.headers) || typeof request.body !== 'object')
        throw new Error('it is not a line of --record')
      yield request as RecordedRequest
    }
  } catch (error) {
    throw new CommandError('usage', `${file}${number > 0 ? `:${number}` : ''}: ${messageOf(error)}`)
  }
}

function ownField({ headers }: RecordedRequest, name: string): string {
  return headers.find(([other]) => other === name)?.[1] ?? ''
}

/** Why a request cannot be sent again. */
function obstacleOf(request: RecordedRequest): string | undefined {
  if (ownField(request, 'METHOD') === 'WEBSOCKET_HANDSHAKE') return 'skipped: a WebSocket'
  return request.body.cut ? 'skipped: its body is not recorded' : undefined
}

interface ReplayOptions {
  readonly given: readonly [string, string][]
  readonly timeout: number
}

async function replay(
  client: MemoryClient,
  { path, headers, body, response }: RecordedRequest,
  { given, timeout }: ReplayOptions,
): Promise<Response> {
  const fields = [...headers.filter(([name]) => !given.some(([other]) => other === name)), ...given]
  const timer = setTimeout(() => void client.leave(`no response within ${timeout} ms`), timeout)
  try {
    const { head, body: arriving } = await client.send(path, fields.flat(), bytesOf(body))
    // A response that was cut may be one that never ends.
    const most = response?.body.cut ? bytesOf(response.body).length : Number.POSITIVE_INFINITY
    const pieces: Buffer[] = []
    let size = 0
    if (most > 0) {
      for await (const piece of arriving) {
        pieces.push(piece)
        size += piece.length
        if (size >= most) break
      }
    }
    return { ...head, body: Buffer.concat(pieces).subarray(0, most) }
  } finally {
    clearTimeout(timer)
    await client.leave('')
  }
}

function bytesOf({ text, base64 }: RecordedBody): Buffer {
  return base64 === undefined ? Buffer.from(text ?? '') : Buffer.from(base64, 'base64')
}

function shown(response: Response): Buffer {
  return Buffer.concat([Buffer.from(`${renderHead(response)}\r\n`, 'latin1'), response.body, Buffer.from('\r\n\r\n')])
}

/** What differs from the recorded response; undefined if there is none. */
function differencesOf(
  recorded: RecordedResponse | undefined,
  response: Response | string,
  ignored: readonly string[],
): string[] | undefined {
  if (recorded === undefined) return undefined
  if (typeof response === 'string') return [response]
  const { fields } = response
  const expected = new Headers(recorded.headers.map(([name, value]) => [name, value]))
  const got = new Headers()
  for (let at = 0; at < fields.length; at += 2) got.append(fields[at] ?? '', fields[at + 1] ?? '')
  const names = new Set([...expected.keys(), ...got.keys()])
  for (const name of [...ignored, ...(recorded.omitted ?? [])]) names.delete(name)
  const body = bytesOf(recorded.body)
  return [
    difference('status', recorded.status, response.status),
    ...Array.from(names, (name) => difference(name, expected.get(name), got.get(name))),
    body.equals(response.body) ? undefined : difference('body', ...differingParts(body, response.body)),
  ].filter((line) => line !== undefined)
}

function difference<T>(what: string, expected: T, got: T): string | undefined {
  return expected === got ? undefined : `${what}: expected ${JSON.stringify(expected)}, got ${JSON.stringify(got)}`
}

/** The bytes around the first that differs. */
function differingParts(expected: Buffer, got: Buffer): [string, string] {
  let at = 0
  while (at < expected.length && expected[at] === got[at]) at++
  const from = Math.max(0, at - SHOWN / 2)
  const part = (bytes: Buffer) => `${from > 0 ? '...' : ''}${bytes.toString('latin1', from, from + SHOWN)}`
  return [part(expected), part(got)]
}
