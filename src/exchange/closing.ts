import type { Epoch } from '../connection/epoch.ts'
import { delay } from '../runtime/promises.ts'
import type { Application } from './application.ts'

/** What is served now: while this goes on a Mongrel2 may go, and the next come. */
type Epochs = ReadonlyMap<unknown, Epoch>

/**
 * Takes leave of the clients of sockets, and hears what is open to its end.
 *
 * @param patience Milliseconds that those clients may take.
 * @param late Resolves when nothing is heard out any more.
 */
export async function takeLeave(epochs: Epochs, patience: number, late: Promise<void>): Promise<void> {
  await Promise.race([Promise.all(Array.from(epochs.values(), (epoch) => epoch.closing.goAway())), delay(patience)])
  await Promise.race([Promise.all(Array.from(epochs.values(), (epoch) => epoch.closing.inputDrained())), late])
}

/**
 * Answers all that has been heard, when nothing more is.
 *
 * @param late Resolves when what is still open is to be cut off.
 */
export async function answerAll(application: Application, all: Epochs, late: Promise<void>): Promise<void> {
  const epochs = [...all.values()]
  for (const { closing } of epochs) closing.stopPulling()
  const answered = application.settled().then(() => Promise.all(epochs.map(({ closing }) => closing.drained())))
  await Promise.race([answered, late])
  for (const { closing } of epochs) closing.cutBusy()
}
