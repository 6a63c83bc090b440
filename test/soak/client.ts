import { setTimeout as sleep } from 'node:timers/promises'
import type { Front } from './front.ts'
import type { Tally } from './tally.ts'
import { nextPlan, random } from './traffic.ts'
import { Visit } from './visit.ts'

/** Plans that one connection is used for at most. */
const LONGEST_VISIT = 12
/** Milliseconds between two plans, at most: the run is to be long, not to fill the machine. */
const LONGEST_PAUSE = 40

/** Makes one connection after another until it is told to stop. */
export async function runClient(front: Front, tally: Tally, stop: AbortSignal): Promise<void> {
  while (!stop.aborted) {
    await front.whenUp()
    const visit = new Visit(front, tally)
    for (let plans = random(1, LONGEST_VISIT); plans > 0 && visit.open && !stop.aborted; plans--) {
      await visit.play(nextPlan(front.setup))
      await sleep(random(0, LONGEST_PAUSE))
    }
    visit.leave()
  }
}
