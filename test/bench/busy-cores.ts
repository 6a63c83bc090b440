import { cpus } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'

/** How many cores of the machine are at work for so many milliseconds. */
export async function busyCores(milliseconds: number): Promise<number> {
  const before = ticks()
  await sleep(milliseconds)
  const after = ticks()
  return (cpus().length * (after.busy - before.busy)) / (after.all - before.all)
}

function ticks(): { busy: number; all: number } {
  let busy = 0
  let all = 0
  for (const { times } of cpus()) {
    busy += times.user + times.nice + times.sys + times.irq
    all += times.user + times.nice + times.sys + times.irq + times.idle
  }
  return { busy, all }
}
