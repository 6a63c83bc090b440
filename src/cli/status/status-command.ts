import { request } from 'node:http'
import { text } from 'node:stream/consumers'
import type { AdminStats } from '../../admin/monitor.ts'
import { type ListenAt, placeText } from '../../gateway/listen.ts'
import { messageOf } from '../../runtime/log.ts'
import { checkedValue, type OptionSources } from '../options/command-options.ts'
import { type AdminSettings, adminOf, gather } from '../options/settings.ts'
import { CommandError, type Ending, stopSignal } from '../shared/exit-code.ts'
import { statusText } from '../shared/status-text.ts'

const INTERVAL = 1000
/** Time for an answer, in milliseconds. */
const TIMEOUT = 5000
/** Erases a terminal and begins at its top. */
const CLEAR = '\x1b[H\x1b[2J'

/** Runs `mongrel2-fetch status`: shows what the admin address of `serve` says. Ends with `failed` if the server is not ready. */
export async function statusCommand(flags: OptionSources): Promise<Ending> {
  const { sources } = await gather('status', flags)
  const admin = adminOf(sources)
  if (admin === undefined) {
    throw new CommandError('usage', 'expected --admin HOST:PORT or --admin PATH, as serve has it')
  }
  const render = checkedValue(sources, 'json') ? (stats: AdminStats) => JSON.stringify(stats) : statusText
  if (!checkedValue(sources, 'watch')) {
    const stats = await ask(admin)
    console.log(render(stats))
    return stats.obstacles.length === 0 ? 'ok' : 'failed'
  }
  const stopped = stopSignal()
  const clear = process.stdout.isTTY && render === statusText ? CLEAR : ''
  for (;;) {
    // The server may be back in a moment.
    const shown = await ask(admin).then(render, messageOf)
    console.log(clear + shown)
    const next = new Promise<void>((resolve) => setTimeout(resolve, INTERVAL))
    if ((await Promise.race([stopped, next])) !== undefined) return 'ok'
  }
}

/** Asks the admin address; throws CommandError `failed`. */
async function ask({ at, token }: AdminSettings): Promise<AdminStats> {
  const where = placeText(at)
  const [status, body] = await get(at, token).catch((error: NodeJS.ErrnoException) => {
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

function get(at: ListenAt, token: string | undefined): Promise<[status: number, body: string]> {
  const place = 'path' in at ? { socketPath: at.path } : { host: at.host ?? 'localhost', port: at.port }
  const headers = { host: 'localhost', ...(token !== undefined && { authorization: `Bearer ${token}` }) }
  return new Promise((resolve, reject) => {
    const asked = request({ ...place, path: '/stats', headers, signal: AbortSignal.timeout(TIMEOUT) }, (response) => {
      text(response).then((body) => resolve([response.statusCode ?? 0, body]), reject)
    })
    asked.on('error', reject)
    asked.end()
  })
}
