import { text } from 'node:stream/consumers'
import { type ListenAt, placeText } from '../../gateway/listen.ts'
import { messageOf } from '../../runtime/log.ts'
import type { AdminSettings } from '../options/settings.ts'
import { CommandError } from './exit-code.ts'

/** Time for an answer, in milliseconds. */
const TIMEOUT = 5000

/** Asks the admin address; throws CommandError `failed`. */
export async function askAdmin<T>({ at, token }: AdminSettings, path: string): Promise<T> {
  const where = placeText(at)
  const [status, body] = await get(at, token, path).catch((error: NodeJS.ErrnoException) => {
    const nobody = error.code === 'ECONNREFUSED' || error.code === 'ENOENT'
    const advice = nobody ? `nobody listens there: start serve with --admin ${where}` : messageOf(error)
    throw new CommandError('failed', `${where} does not answer: ${advice}`)
  })
  if (status === 200) return JSON.parse(body)
  if (status === 401) {
    const why = token === undefined ? 'none is given' : 'the given one is another'
    throw new CommandError('failed', `${where} needs a token, and ${why}: name its file by --admin-token-file`)
  }
  throw new CommandError('failed', `${where} answers ${status}: ${body.trim()}`)
}

function get(at: ListenAt, token: string | undefined, path: string): Promise<[status: number, body: string]> {
  const place = 'path' in at ? { socketPath: at.path } : { host: at.host ?? 'localhost', port: at.port }
  const headers = { host: 'localhost', ...(token !== undefined && { authorization: `Bearer ${token}` }) }
  const { request } = process.getBuiltinModule('node:http')
  return new Promise((resolve, reject) => {
    const asked = request({ ...place, path, headers, signal: AbortSignal.timeout(TIMEOUT) }, (response) => {
      text(response).then((body) => resolve([response.statusCode ?? 0, body]), reject)
    })
    asked.on('error', reject)
    asked.end()
  })
}
