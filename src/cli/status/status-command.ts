import type { AdminStats } from '../../admin/monitor.ts'
import { messageOf } from '../../runtime/log.ts'
import { checkedValue, type OptionSources } from '../options/command-options.ts'
import { adminOf, gather } from '../options/settings.ts'
import { askAdmin } from '../shared/ask-admin.ts'
import { CommandError, type Ending, stopSignal } from '../shared/exit-code.ts'
import { statusText } from '../shared/status-text.ts'

const INTERVAL = 1000
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
    const stats = await askAdmin<AdminStats>(admin, '/stats')
    console.log(render(stats))
    return stats.obstacles.length === 0 ? 'ok' : 'failed'
  }
  const stopped = stopSignal()
  const clear = process.stdout.isTTY && render === statusText ? CLEAR : ''
  for (;;) {
    // The server may be back in a moment.
    const shown = await askAdmin<AdminStats>(admin, '/stats').then(render, messageOf)
    console.log(clear + shown)
    const next = new Promise<void>((resolve) => setTimeout(resolve, INTERVAL))
    if ((await Promise.race([stopped, next])) !== undefined) return 'ok'
  }
}
